"""Files: uploaded ones, whose bytes are a blob, and the outputs of jobs, which are rendered when read.

A file that has expired is not found, whether or not it has been swept yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row

from store.attachments import NamedBlob
from store.db import map_errors
from store.ids import new_file_id
from store.paging import fetch_page


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """A file. Of `blob` and `job_id` just one is set."""

    id: str
    project_id: int
    purpose: str
    filename: str
    size_bytes: int
    sha256: str | None
    blob: str | None
    job_id: int | None
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """An output of a job, as its end is settled."""

    filename: str
    size_bytes: int


OUTPUT_PURPOSE = "batch_output"

_LIVE = "coalesce(expires_at > now(), true)"
_INSERT = """
INSERT INTO file (id, project_id, purpose, filename, blob, size_bytes, sha256, expires_at)
VALUES (%(id)s, %(project_id)s, %(purpose)s, %(filename)s, %(blob)s, %(size_bytes)s, %(sha256)s,
        now() + make_interval(secs => %(expires_seconds)s::float8))
RETURNING *
"""
_INSERT_OUTPUT = """
INSERT INTO file (id, project_id, purpose, filename, size_bytes, job_id, expires_at)
SELECT %(id)s, project_id, %(purpose)s, %(filename)s, %(size)s, id,
       now() + make_interval(secs => output_expires_seconds)
FROM job WHERE id = %(job)s
"""
# The input of a job that is still to be read stays, however old.
IS_PAST = """
(expires_at <= now() AND NOT EXISTS (
    SELECT FROM job WHERE state = 'validating' AND ended_at IS NULL AND input_file_id = file.id))"""
_SWEEP = f"""
DELETE FROM file WHERE id IN (
    SELECT id FROM file WHERE {IS_PAST}
    ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING blob
"""
SWEEP_AT_ONCE = 1000


async def insert(
    conn: AsyncConnection[Any],
    *,
    project_id: int,
    purpose: str,
    filename: str,
    blob: str,
    size_bytes: int,
    sha256: str | None,
    expires_seconds: int | None,
) -> FileRow:
    """A file over a blob that is complete; `expires_seconds` from now, None for never."""
    values = {
        "id": new_file_id(),
        "project_id": project_id,
        "purpose": purpose,
        "filename": filename,
        "blob": blob,
        "size_bytes": size_bytes,
        "sha256": sha256,
        "expires_seconds": expires_seconds,
    }
    async with conn.cursor(row_factory=class_row(FileRow)) as cursor:
        await cursor.execute(_INSERT, values)
        row = await cursor.fetchone()
    assert row is not None
    return row


@map_errors()
def insert_output(conn: Connection[Any], job_id: int, file: OutputFile) -> str:
    """The output of a job, kept as long as the job says: its id."""
    file_id = new_file_id()
    values = {"id": file_id, "job": job_id, "purpose": OUTPUT_PURPOSE}
    conn.execute(_INSERT_OUTPUT, values | {"filename": file.filename, "size": file.size_bytes})
    return file_id


async def find(conn: AsyncConnection[Any], file_id: str, project_id: int) -> FileRow | None:
    """The file, if it is this project's and has not expired."""
    async with conn.cursor(row_factory=class_row(FileRow)) as cursor:
        await cursor.execute(
            f"SELECT * FROM file WHERE id = %s AND project_id = %s AND {_LIVE}", (file_id, project_id)
        )
        return await cursor.fetchone()


@map_errors()
def load(conn: Connection[Any], file_id: str) -> FileRow | None:
    """The file, whosever it is, expired or not."""
    with conn.cursor(row_factory=class_row(FileRow)) as cursor:
        return cursor.execute("SELECT * FROM file WHERE id = %s", (file_id,)).fetchone()


async def find_by_digest(conn: AsyncConnection[Any], project_id: int, sha256: str) -> FileRow | None:
    """The project's newest uploaded file with these bytes, by their SHA-256 in hexadecimal."""
    statement = f"""
        SELECT * FROM file WHERE project_id = %s AND sha256 = %s AND blob IS NOT NULL AND {_LIVE}
        ORDER BY created_at DESC, id DESC LIMIT 1"""
    async with conn.cursor(row_factory=class_row(FileRow)) as cursor:
        await cursor.execute(statement, (project_id, sha256))
        return await cursor.fetchone()


@map_errors()
def blobs_of(conn: Connection[Any], project_id: int, file_ids: Sequence[str]) -> dict[str, NamedBlob]:
    """Blob and name of those of these files that are the project's, uploaded, and not expired, by id."""
    statement = f"""
        SELECT id, blob, filename FROM file
        WHERE id = ANY (%s) AND project_id = %s AND blob IS NOT NULL AND {_LIVE}"""
    rows = conn.execute(statement, (list(file_ids), project_id)).fetchall()
    return {file_id: NamedBlob(blob, name) for file_id, blob, name in rows}


async def page(
    conn: AsyncConnection[Any],
    project_id: int,
    *,
    purpose: str | None,
    after: str | None,
    limit: int,
    order: Literal["asc", "desc"],
) -> tuple[list[FileRow], bool]:
    """Up to `limit` files by age, after the file `after`, and whether there are more.

    An unknown `after` gives an empty page. None for `purpose` is every purpose.
    """
    beyond = ">" if order == "asc" else "<"
    statement = f"""
        SELECT * FROM file
        WHERE project_id = %(project)s AND {_LIVE} AND (%(purpose)s::text IS NULL OR purpose = %(purpose)s)
          AND (%(after)s::text IS NULL OR (created_at, id) {beyond} (
                  SELECT created_at, id FROM file WHERE id = %(after)s AND project_id = %(project)s))
        ORDER BY created_at {order}, id {order} LIMIT %(rows)s"""
    values = {"project": project_id, "purpose": purpose, "after": after}
    return await fetch_page(conn, FileRow, statement, values, limit)


async def delete(conn: AsyncConnection[Any], file_id: str, project_id: int) -> FileRow | None:
    """Deletes the row and gives it; None where there is none. Its blob is the caller's to delete next."""
    async with conn.cursor(row_factory=class_row(FileRow)) as cursor:
        await cursor.execute(
            "DELETE FROM file WHERE id = %s AND project_id = %s RETURNING *", (file_id, project_id)
        )
        return await cursor.fetchone()


@map_errors()
def expired(conn: Connection[Any]) -> list[str]:
    """Deletes the rows of files that have expired: the blobs to delete next. Some at a time."""
    rows = conn.execute(_SWEEP, (SWEEP_AT_ONCE,)).fetchall()
    return [blob for (blob,) in rows if blob is not None]
