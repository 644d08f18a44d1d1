"""Files and uploads: rows over blobs, per project, with an end."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import files, jobs, uploads
from store.files import FileRow
from store.ids import new_suffix
from store.uploads import UploadRow

Conn = psycopg.Connection[Any]
WaitFor = Callable[..., Any]


@pytest.fixture
def new_file(wait_for: WaitFor) -> Callable[..., FileRow]:
    def put(**fields: Any) -> FileRow:
        values: dict[str, Any] = {
            "project_id": 1, "purpose": "batch", "filename": "in.jsonl", "blob": "b", "size_bytes": 3,
            "sha256": "ab", "expires_seconds": None,
        }  # fmt: skip
        row: FileRow = wait_for(files.insert, **(values | fields))
        return row

    return put


@pytest.fixture
def upload(wait_for: WaitFor) -> UploadRow:
    row: UploadRow = wait_for(
        uploads.insert, project_id=1, purpose="batch", filename="in.jsonl", mime_type="text/jsonl",
        size_bytes=6, file_expires_seconds=7200,
    )  # fmt: skip
    return row


def test_a_file_is_found_in_its_project_alone(
    conn: Conn, wait_for: WaitFor, new_file: Callable[..., FileRow]
) -> None:
    file = new_file()
    assert wait_for(files.find, file.id, 1) == file == files.load(conn, file.id)
    assert wait_for(files.find, file.id, 2) is None
    assert wait_for(files.find, "file-unknown", 1) is None
    assert files.load(conn, "file-unknown") is None


def test_a_deleted_file_names_its_blob_once(wait_for: WaitFor, new_file: Callable[..., FileRow]) -> None:
    file = new_file(blob="the-blob")
    assert wait_for(files.delete, file.id, 2) is None
    assert wait_for(files.delete, file.id, 1).blob == "the-blob"
    assert wait_for(files.delete, file.id, 1) is None


def test_an_expired_file_is_gone_before_it_is_swept(
    conn: Conn, wait_for: WaitFor, new_file: Callable[..., FileRow]
) -> None:
    old = new_file(expires_seconds=0, blob="old")
    kept = new_file(expires_seconds=3600)
    assert kept.expires_at is not None
    assert (kept.expires_at - kept.created_at).total_seconds() == 3600
    assert wait_for(files.find, old.id, 1) is None
    rows, _ = wait_for(files.page, 1, purpose=None, after=None, limit=10, order="asc")
    assert rows == [kept]
    assert files.expired(conn) == ["old"]
    assert files.expired(conn) == []


def test_the_file_of_a_job_that_is_still_to_be_read_is_not_swept(
    conn: Conn, wait_for: WaitFor, new_file: Callable[..., FileRow]
) -> None:
    file = new_file(expires_seconds=0)
    job = jobs.NewJob(
        suffix=new_suffix(), view="batch", project_id=1, key_id=1, endpoint="/v1/embeddings", family="",
        model="", lane="bulk", input_file_id=file.id,
    )  # fmt: skip
    wait_for(jobs.insert_validating, job)
    assert files.expired(conn) == []
    conn.execute("UPDATE job SET state = 'queued'")
    assert files.expired(conn) == ["b"]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_files_follow_each_other_without_gap(
    conn: Conn, wait_for: WaitFor, new_file: Callable[..., FileRow], order: str
) -> None:
    ids = [new_file().id for _ in range(5)]
    conn.execute(
        "UPDATE file SET created_at = (SELECT min(created_at) FROM file) WHERE id = ANY (%s)", (ids[:3],)
    )
    ids = sorted(ids[:3]) + ids[3:]  # of files of one moment the id decides
    seen: list[str] = []
    after, has_more = None, True
    while has_more:
        rows, has_more = wait_for(files.page, 1, purpose="batch", after=after, limit=2, order=order)
        seen += [row.id for row in rows]
        after = rows[-1].id
    assert seen == (ids if order == "asc" else ids[::-1])


def test_pages_hold_what_was_asked_for(wait_for: WaitFor, new_file: Callable[..., FileRow]) -> None:
    new_file(purpose="user_data")
    page = {"purpose": None, "after": None, "limit": 10, "order": "asc"}
    assert wait_for(files.page, 1, **(page | {"purpose": "batch"})) == ([], False)
    assert wait_for(files.page, 2, **page) == ([], False)
    assert wait_for(files.page, 1, **(page | {"after": "file-unknown"})) == ([], False)


def test_an_upload_becomes_a_file_of_its_parts(conn: Conn, wait_for: WaitFor, upload: UploadRow) -> None:
    assert upload.state == "pending"
    parts = [wait_for(uploads.add_part, upload.id, blob=f"part-{n}", size_bytes=3) for n in range(2)]
    assert wait_for(uploads.parts, upload.id) == parts
    completed, file = wait_for(uploads.complete, upload, blob="whole", size_bytes=6, sha256="cd")
    assert (completed.state, completed.file_id) == ("completed", file.id)
    assert (file.blob, file.filename, file.purpose) == ("whole", "in.jsonl", "batch")
    assert (file.expires_at - file.created_at).total_seconds() == 7200
    assert wait_for(uploads.find, upload.id, 1) == completed
    assert wait_for(uploads.find, upload.id, 2) is None
    assert sorted(wait_for(uploads.remove_parts, upload.id)) == ["part-0", "part-1"]
    assert uploads.expired(conn) == []


@pytest.mark.parametrize("end", ["completed", "cancelled", "expired"])
def test_an_upload_that_has_ended_takes_nothing_more(
    conn: Conn, wait_for: WaitFor, upload: UploadRow, end: str
) -> None:
    wait_for(uploads.add_part, upload.id, blob="part", size_bytes=3)
    if end == "completed":
        wait_for(uploads.complete, upload, blob="whole", size_bytes=3, sha256="cd")
    elif end == "cancelled":
        assert wait_for(uploads.cancel, upload.id).state == "cancelled"
    else:
        conn.execute("UPDATE upload SET expires_at = now()")
    before = conn.execute("SELECT count(*) FROM file").fetchone()
    assert wait_for(uploads.find, upload.id, 1).state == end
    assert wait_for(uploads.add_part, upload.id, blob="late", size_bytes=3) is None
    assert wait_for(uploads.complete, upload, blob="again", size_bytes=3, sha256="cd") is None
    assert wait_for(uploads.cancel, upload.id) is None
    assert conn.execute("SELECT count(*) FROM file").fetchone() == before
    assert uploads.expired(conn) == ["part"]
    assert wait_for(uploads.find, upload.id, 1).state == end


def test_a_pending_upload_keeps_its_parts(conn: Conn, wait_for: WaitFor, upload: UploadRow) -> None:
    wait_for(uploads.add_part, upload.id, blob="part", size_bytes=3)
    assert uploads.expired(conn) == []
    assert len(wait_for(uploads.parts, upload.id)) == 1
    assert wait_for(uploads.add_part, "upload_unknown", blob="part", size_bytes=3) is None


def test_the_newest_file_of_a_digest_is_found_in_its_project_while_it_lives(
    conn: Conn, new_file: Callable[..., FileRow], wait_for: WaitFor
) -> None:
    conn.execute("INSERT INTO project (id, name) VALUES (7, 'other')")
    new_file(sha256="aa", blob="oldest")
    newest = new_file(sha256="aa", blob="newest")
    new_file(sha256="aa", blob="expired", expires_seconds=-1)
    theirs = new_file(sha256="aa", blob="theirs", project_id=7)
    assert wait_for(files.find_by_digest, 1, "aa") == newest
    assert wait_for(files.find_by_digest, 1, "bb") is None
    assert files.blobs_of(conn, 1, [newest.id, theirs.id]) == {newest.id: ("newest", "in.jsonl")}
