"""Files as the routes handle them: a blob that becomes a row, a row that is found again."""

import asyncio
import re
from collections.abc import Sequence

from api.errors import ApiError
from api.schemas.expiry import LONGEST
from api.schemas.inline import InlineRequest, lines_of
from api.services import Services
from store import files
from store.blobs import Blob, Blobs
from store.db import borrow
from store.files import FileRow
from tasks.submit import Caller

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what can be an id: Postgres does not take every character


async def add_file(
    services: Services, caller: Caller, blob: Blob, *, purpose: str, filename: str, lifetime: int | None
) -> FileRow:
    """Make a file of a blob; `lifetime` in seconds, None for ever. Raises `DatabaseUnavailable`."""
    async with borrow(services.pool) as conn:
        return await files.insert(
            conn,
            project_id=caller.project_id,
            purpose=purpose,
            filename=filename,
            blob=blob.name,
            size_bytes=blob.size_bytes,
            sha256=blob.sha256,
            expires_seconds=lifetime,
        )


async def find_file(services: Services, caller: Caller, file_id: str, *, param: str | None = None) -> FileRow:
    """Raises `ApiError` (file_not_found), also for a file that has expired and is not swept yet."""
    if not ID.fullmatch(file_id):
        raise file_not_found(file_id, param)
    async with borrow(services.pool) as conn:
        row = await files.find(conn, file_id, caller.project_id)
    if row is None:
        raise file_not_found(file_id, param)
    return row


def file_not_found(file_id: str, param: str | None = None) -> ApiError:
    return ApiError("file_not_found", f"No such file: '{file_id[:64]}'.", param=param)


async def store_requests(
    services: Services, caller: Caller, requests: Sequence[InlineRequest], endpoint: str
) -> FileRow:
    """Store inline requests as a batch input file."""
    blob = await asyncio.to_thread(_write_lines, services.blobs, requests, endpoint)
    try:
        return await add_file(
            services, caller, blob, purpose="batch", filename="requests.jsonl", lifetime=LONGEST
        )
    except BaseException:
        await asyncio.to_thread(services.blobs.delete, blob.name)
        raise


def _write_lines(blobs: Blobs, requests: Sequence[InlineRequest], endpoint: str) -> Blob:
    writer = blobs.create()
    try:
        for line in lines_of(requests, endpoint):
            writer.write(line)
        return writer.commit()
    finally:
        writer.abort()
