"""The transcripts of a job as files, in a zip that is made while it is sent."""

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import Connection

from backends.transcription import parse_part
from store.jobs import JobRow
from store.results import UNFINISHED
from tasks.formats import Formats
from tasks.merging import outcomes
from tasks.render import render_line
from tasks.transcript_bodies import files_of
from tasks.transcripts.archive import zip_of
from tasks.transcripts.merged import transcript_of


def zip_of_job(
    conn: Connection[Any], job: JobRow, *, formats: Formats, include_retries: bool
) -> Iterator[bytes]:
    """The transcripts of a job's items that have one by now, as files in a zip; in the formats
    that are wanted. What failed is said in its errors.jsonl. Raises `DatabaseUnavailable`."""
    return zip_of(_files_of_job(conn, job, formats, include_retries))


def _files_of_job(
    conn: Connection[Any], job: JobRow, formats: Formats, include_retries: bool
) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    errors: list[bytes] = []
    for found in outcomes(conn, job, after=None, include_retries=include_retries):
        item = found.item
        if item.status == 200:
            request = formats.ruled(parse_part(item.body, job.endpoint, model=job.model))
            name = request.attachment[1] if request.attachment is not None else item.custom_id
            yield name, files_of(transcript_of(item.parts), formats.transcripts or request.wanted, request)
        elif item.status != UNFINISHED:
            errors.append(render_line(job, item, request_id=found.request_id))
    if errors:
        yield "errors", {"jsonl": b"".join(errors)}
