"""The transcripts of a job as files."""

import asyncio
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from backends.transcription import Format
from backends.types import ErrorInfo, encode_result
from store import calls, jobs
from store.db import connect
from store.ids import new_suffix
from store.items import NewItem
from store.jobs import JobRow
from tasks.formats import Formats
from tasks.transcript_zips import zip_of_job
from tests.tasks.test_transcript_bodies import PARTS

ERROR = encode_result(ErrorInfo("invalid_audio", "no recording", "file"))
BODIES = {
    "monday": b'{"file_id": "file-1", "formats": ["srt", "text"]}',
    "../tuesday": b'{"file_id": "file-2"}',
    "wednesday": b'{"file_id": "file-3"}',
    "thursday": b'{"file_id": "file-4"}',
}


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(database_url, name="test") as conn:
        yield conn


@pytest.fixture
def job(conn: psycopg.Connection[Any], database_url: str) -> JobRow:
    """Two items have a transcript, one an error, one nothing yet."""
    row = asyncio.run(_insert(database_url))
    for n, status, data in ((0, 200, PARTS[0]), (1, 200, PARTS[0]), (2, 400, ERROR)):
        values = (row.id, n, status, 900, data)
        conn.execute(
            "INSERT INTO result (job_id, n, status, units, data) VALUES (%s, %s, %s, %s, %s)", values
        )
    return row


async def _insert(url: str) -> JobRow:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        new = jobs.NewJob(
            suffix=new_suffix(),
            view="job",
            project_id=1,
            key_id=1,
            endpoint="/v1/audio/transcriptions",
            family="whisper",
            model="whisper-tiny.en",
            lane="bulk",
        )
        items = [NewItem(custom_id=name, body=body) for name, body in BODIES.items()]
        row = await jobs.load(conn, await calls.insert_call(conn, new, items))
        assert row is not None
        return row


def files(conn: psycopg.Connection[Any], job: JobRow, *formats: Format) -> dict[str, bytes]:
    sent = b"".join(zip_of_job(conn, job, formats=Formats(transcripts=formats), include_retries=False))
    with zipfile.ZipFile(io.BytesIO(sent)) as found:
        return {name: found.read(name) for name in found.namelist()}


def test_each_item_has_the_files_that_it_asked_for(conn: psycopg.Connection[Any], job: JobRow) -> None:
    found = files(conn, job)
    assert list(found) == ["monday.srt", "monday.txt", "tuesday.json", "errors.jsonl"]
    assert found["monday.txt"] == b"One\n"
    assert json.loads(found["tuesday.json"])["text"] == "One"


def test_a_reader_chooses_the_formats_of_all(conn: psycopg.Connection[Any], job: JobRow) -> None:
    assert list(files(conn, job, "vtt")) == ["monday.vtt", "tuesday.vtt", "errors.jsonl"]


def test_what_failed_is_said(conn: psycopg.Connection[Any], job: JobRow) -> None:
    [line] = files(conn, job)["errors.jsonl"].splitlines()
    assert json.loads(line)["custom_id"] == "wednesday"
    assert json.loads(line)["response"]["body"]["error"]["code"] == "invalid_audio"
