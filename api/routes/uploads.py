"""`/v1/uploads`: a large file in parts, put together when it is completed."""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence

from fastapi import APIRouter, Request, Response

from api.deps import InServices, InSubmitter
from api.errors import ApiError
from api.file_store import ID
from api.multipart import read_form
from api.openapi import describes, form_of
from api.schemas.expiry import lifetime
from api.schemas.files import check_purpose
from api.schemas.uploads import (
    MAX_PART_BYTES,
    UploadComplete,
    UploadCreate,
    UploadObject,
    UploadPartObject,
    part_object,
    upload_object,
)
from api.services import Services
from api.wire import read_json, reply
from store import uploads
from store.blobs import Blob, Blobs
from store.db import borrow
from store.uploads import PartRow, UploadRow
from tasks.submit import Caller

COPY_BYTES = 1024**2
MAX_BODY_BYTES = 1024**2  # of the JSON bodies here: ten thousand part ids fit

router = APIRouter()


@router.post("/v1/uploads", openapi_extra=describes(body=UploadCreate, reply=UploadObject))
async def create_upload(request: Request, services: InServices, caller: InSubmitter) -> Response:
    asked = await read_json(request, MAX_BODY_BYTES, UploadCreate)
    limit = services.settings.max_upload_bytes
    if asked.bytes > limit:
        raise ApiError("file_too_large", f"An upload takes at most {limit:,} bytes.", param="bytes")
    async with borrow(services.pool) as conn:
        upload = await uploads.insert(
            conn,
            project_id=caller.project_id,
            purpose=check_purpose(asked.purpose),
            filename=asked.filename,
            mime_type=asked.mime_type,
            size_bytes=asked.bytes,
            file_expires_seconds=lifetime(asked.purpose, asked.expires_after),
        )
    return reply(upload_object(upload))


@router.post(
    "/v1/uploads/{upload_id}/parts", openapi_extra=describes(form=form_of("data"), reply=UploadPartObject)
)
async def add_part(upload_id: str, request: Request, services: InServices, caller: InSubmitter) -> Response:
    upload = await _find_pending(services, caller, upload_id)
    async with read_form(request, services.blobs, file_field="data", limit=MAX_PART_BYTES) as form:
        async with borrow(services.pool) as conn:
            part = await uploads.add_part(
                conn, upload.id, blob=form.blob.name, size_bytes=form.blob.size_bytes
            )
        if part is None:
            raise _not_pending(upload)
        form.keep()
    return reply(part_object(part))


@router.post(
    "/v1/uploads/{upload_id}/complete", openapi_extra=describes(body=UploadComplete, reply=UploadObject)
)
async def complete_upload(
    upload_id: str, request: Request, services: InServices, caller: InSubmitter
) -> Response:
    """Join the parts in the order that is asked for. Raises `ApiError` (upload_mismatch)."""
    asked = await read_json(request, MAX_BODY_BYTES, UploadComplete)
    upload = await _find_pending(services, caller, upload_id)
    async with borrow(services.pool) as conn:
        arrived = await uploads.parts(conn, upload.id)
    chosen = _choose(arrived, asked.part_ids, upload)
    blob = await asyncio.to_thread(_join, services.blobs, chosen, asked.md5)
    try:
        async with borrow(services.pool) as conn:
            completed = await uploads.complete(
                conn, upload, blob=blob.name, size_bytes=blob.size_bytes, sha256=blob.sha256
            )
        if completed is None:
            raise _not_pending(upload)
    except BaseException:
        await asyncio.to_thread(services.blobs.delete, blob.name)
        raise
    await _drop_parts(services, upload.id)
    return reply(upload_object(*completed))


@router.post("/v1/uploads/{upload_id}/cancel", openapi_extra=describes(reply=UploadObject))
async def cancel_upload(upload_id: str, services: InServices, caller: InSubmitter) -> Response:
    upload = await _find_pending(services, caller, upload_id)
    async with borrow(services.pool) as conn:
        cancelled = await uploads.cancel(conn, upload.id)
    if cancelled is None:
        raise _not_pending(upload)
    await _drop_parts(services, upload.id)
    return reply(upload_object(cancelled))


async def _find_pending(services: Services, caller: Caller, upload_id: str) -> UploadRow:
    """Raises `ApiError` (upload_not_found, upload_not_pending)."""
    async with borrow(services.pool) as conn:
        found = ID.fullmatch(upload_id) and await uploads.find(conn, upload_id, caller.project_id)
    if not found:
        raise ApiError("upload_not_found", f"No such upload: '{upload_id[:64]}'.")
    if found.state != "pending":
        raise _not_pending(found)
    return found


def _not_pending(upload: UploadRow) -> ApiError:
    state = upload.state if upload.state != "pending" else "completed or cancelled by now"
    return ApiError("upload_not_pending", f"The upload '{upload.id}' is {state}.")


def _choose(arrived: Iterable[PartRow], wanted: Sequence[str], upload: UploadRow) -> list[PartRow]:
    """The parts of `wanted`, in that order, if they are as long as was announced."""
    by_id = {part.id: part for part in arrived}
    unknown = [part_id for part_id in wanted if part_id not in by_id]
    if unknown:
        message = f"No such part of this upload: '{unknown[0][:64]}'."
        raise ApiError("upload_mismatch", message, param="part_ids")
    chosen = [by_id[part_id] for part_id in wanted]
    size = sum(part.size_bytes for part in chosen)
    if size != upload.size_bytes:
        message = f"The parts have {size:,} bytes; {upload.size_bytes:,} were announced."
        raise ApiError("upload_mismatch", message, param="part_ids")
    return chosen


def _join(blobs: Blobs, parts: Iterable[PartRow], md5: str | None) -> Blob:
    """One blob of many. Raises `ApiError` (upload_mismatch) when its MD5 is not `md5`."""
    digest = hashlib.md5(usedforsecurity=False)
    writer = blobs.create()
    try:
        for part in parts:
            with blobs.open(part.blob) as source:
                while block := source.read(COPY_BYTES):
                    digest.update(block)
                    writer.write(block)
        if md5 is not None and digest.hexdigest() != md5.lower():
            message = f"The MD5 of the parts is {digest.hexdigest()}, not {md5.lower()}."
            raise ApiError("upload_mismatch", message, param="md5")
        return writer.commit()
    finally:
        writer.abort()


async def _drop_parts(services: Services, upload_id: str) -> None:
    async with borrow(services.pool) as conn:
        names = await uploads.remove_parts(conn, upload_id)
    for name in names:
        await asyncio.to_thread(services.blobs.delete, name)
