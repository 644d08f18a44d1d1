"""Bodies of files: blobs as they lie on disk, outputs of jobs rendered line by line while they are sent."""

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import Response
from fastapi.responses import FileResponse, StreamingResponse
from psycopg import Connection

from api.file_store import file_not_found
from api.services import Services
from store import db, jobs
from store.db import borrow
from store.files import FileRow
from tasks.render import render_lines

BYTES = "application/octet-stream"
JSON_LINES = "application/jsonl"
BLOCK_BYTES = 256 * 1024  # one hop to a thread per block

Lines = Callable[[Connection[Any]], Iterator[bytes]]


async def file_response(services: Services, row: FileRow) -> Response:
    """The bytes of a file. Raises `ApiError` (file_not_found) where they are gone, `DatabaseUnavailable`."""
    if row.blob is not None:
        path = services.blobs.path(row.blob)
        if not path.is_file():
            raise file_not_found(row.id)
        return _BlobResponse(path, filename=row.filename, media_type=BYTES)
    async with borrow(services.pool) as conn:
        job = await jobs.load(conn, row.job_id) if row.job_id is not None else None
    if job is None:
        raise file_not_found(row.id)
    lines = partial(render_lines, job=job, which="error" if row.id == job.error_file_id else "output")
    return await lines_response(services, lines, media_type=BYTES)


async def lines_response(services: Services, lines: Lines, *, media_type: str) -> Response:
    """Stream lines that are read over a connection of their own, in blocks.

    The first block is made before the reply begins, so that an error can still become an error reply. The
    length is not announced: it would have to be known to the byte, and chunked encoding shows a cut as well.
    """
    blocks = _blocks(services, lines)
    first = await to_thread.run_sync(next, blocks, b"")
    return StreamingResponse(_sent(first, blocks), media_type=media_type)


class _BlobResponse(FileResponse):
    """Honours ranges."""

    chunk_size = BLOCK_BYTES


def _blocks(services: Services, lines: Lines) -> Generator[bytes, None, None]:
    assert services.settings.database_url is not None
    with db.connect(services.settings.database_url, name="api-download") as conn:
        yield from in_blocks(lines(conn))


def in_blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks that are worth a hop to a thread."""
    block = bytearray()
    for line in lines:
        block += line
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


async def _sent(first: bytes, blocks: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    try:
        block = first
        while block:
            yield block
            block = await to_thread.run_sync(next, blocks, b"")
    finally:
        blocks.close()  # and with it the connection, also when the reader has gone
