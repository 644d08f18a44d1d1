"""Uploads: large files that arrive in parts. An upload ends as a file, or its parts are swept."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row

from store.db import map_errors
from store.files import FileRow
from store.files import insert as insert_file
from store.ids import new_upload_id, new_upload_part_id

UPLOAD_SECONDS = 3600  # how long parts may arrive, as OpenAI has it


@dataclass(frozen=True, kw_only=True)
class UploadRow:
    """An upload. `state` is pending, completed, cancelled or expired; `size_bytes` is what was announced."""

    id: str
    project_id: int
    purpose: str
    filename: str
    mime_type: str
    size_bytes: int
    state: str
    file_id: str | None
    file_expires_seconds: int | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class PartRow:
    """A part that has arrived."""

    id: str
    upload_id: str
    blob: str
    size_bytes: int
    created_at: datetime


# An upload that is past its time is expired, whether or not it has been swept.
_COLUMNS = """
id, project_id, purpose, filename, mime_type, size_bytes, file_id, file_expires_seconds,
created_at, expires_at,
CASE WHEN state = 'pending' AND expires_at <= now() THEN 'expired' ELSE state END AS state
"""
_INSERT = f"""
INSERT INTO upload (id, project_id, purpose, filename, mime_type, size_bytes, file_expires_seconds,
                    expires_at)
VALUES (%(id)s, %(project_id)s, %(purpose)s, %(filename)s, %(mime_type)s, %(size_bytes)s,
        %(file_expires_seconds)s, now() + make_interval(secs => %(seconds)s))
RETURNING {_COLUMNS}
"""
_IS_PENDING = "id = %(upload)s AND state = 'pending' AND expires_at > now()"
# The share lock holds completion off until the part is in, or keeps the part out.
_ADD_PART = f"""
WITH pending AS (SELECT id FROM upload WHERE {_IS_PENDING} FOR SHARE)
INSERT INTO upload_part (id, upload_id, blob, size_bytes)
SELECT %(id)s, pending.id, %(blob)s, %(size)s FROM pending
RETURNING *
"""
_COMPLETE = (
    f"UPDATE upload SET state = 'completed', file_id = %(file)s WHERE {_IS_PENDING} RETURNING {_COLUMNS}"
)
_CANCEL = f"UPDATE upload SET state = 'cancelled' WHERE {_IS_PENDING} RETURNING {_COLUMNS}"
# Parts, joined with their upload, that no upload needs any more.
IS_PAST = "(state <> 'pending' OR upload.expires_at <= now())"
_SWEEP = f"""
WITH ended AS (
    UPDATE upload SET state = 'expired' WHERE state = 'pending' AND expires_at <= now()
)
DELETE FROM upload_part USING upload
WHERE upload.id = upload_id AND {IS_PAST}
RETURNING blob
"""


async def insert(
    conn: AsyncConnection[Any],
    *,
    project_id: int,
    purpose: str,
    filename: str,
    mime_type: str,
    size_bytes: int,
    file_expires_seconds: int | None,
) -> UploadRow:
    """A pending upload of an announced size."""
    values = {
        "id": new_upload_id(),
        "project_id": project_id,
        "purpose": purpose,
        "filename": filename,
        "mime_type": mime_type,
        "size_bytes": size_bytes,
        "file_expires_seconds": file_expires_seconds,
        "seconds": UPLOAD_SECONDS,
    }
    row = await _one(conn, _INSERT, values)
    assert row is not None
    return row


async def find(conn: AsyncConnection[Any], upload_id: str, project_id: int) -> UploadRow | None:
    """The upload, if it is this project's."""
    statement = f"SELECT {_COLUMNS} FROM upload WHERE id = %(upload)s AND project_id = %(project)s"
    return await _one(conn, statement, {"upload": upload_id, "project": project_id})


async def add_part(
    conn: AsyncConnection[Any], upload_id: str, *, blob: str, size_bytes: int
) -> PartRow | None:
    """A part over a blob that is complete; None where the upload is no longer pending."""
    values = {"id": new_upload_part_id(), "upload": upload_id, "blob": blob, "size": size_bytes}
    async with conn.cursor(row_factory=class_row(PartRow)) as cursor:
        await cursor.execute(_ADD_PART, values)
        return await cursor.fetchone()


async def parts(conn: AsyncConnection[Any], upload_id: str) -> list[PartRow]:
    """The parts that have arrived, in that order."""
    async with conn.cursor(row_factory=class_row(PartRow)) as cursor:
        await cursor.execute(
            "SELECT * FROM upload_part WHERE upload_id = %s ORDER BY created_at, id", (upload_id,)
        )
        return await cursor.fetchall()


async def complete(
    conn: AsyncConnection[Any], upload: UploadRow, *, blob: str, size_bytes: int, sha256: str
) -> tuple[UploadRow, FileRow] | None:
    """Makes the upload's file of a blob that holds its parts; None where it is no longer pending.

    The parts stay until they are swept (`remove_parts`).
    """
    async with conn.transaction() as transaction:
        file = await insert_file(
            conn,
            project_id=upload.project_id,
            purpose=upload.purpose,
            filename=upload.filename,
            blob=blob,
            size_bytes=size_bytes,
            sha256=sha256,
            expires_seconds=upload.file_expires_seconds,
        )
        completed = await _one(conn, _COMPLETE, {"upload": upload.id, "file": file.id})
        if completed is not None:
            return completed, file
        transaction.force_rollback = True
    return None


async def cancel(conn: AsyncConnection[Any], upload_id: str) -> UploadRow | None:
    """Cancels a pending upload; None where it is not pending."""
    return await _one(conn, _CANCEL, {"upload": upload_id})


async def remove_parts(conn: AsyncConnection[Any], upload_id: str) -> list[str]:
    """Deletes the rows of an ended upload's parts: the blobs to delete next."""
    statement = "DELETE FROM upload_part WHERE upload_id = %s RETURNING blob"
    return [row[0] for row in await (await conn.execute(statement, (upload_id,))).fetchall()]


@map_errors()
def expired(conn: Connection[Any]) -> list[str]:
    """Ends the uploads that are past their time, and deletes the rows of all ended uploads' parts: the
    blobs to delete next."""
    return [row[0] for row in conn.execute(_SWEEP).fetchall()]


async def _one(conn: AsyncConnection[Any], statement: str, values: dict[str, Any]) -> UploadRow | None:
    async with conn.cursor(row_factory=class_row(UploadRow)) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchone()
