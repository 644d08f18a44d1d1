"""`/v1/files`: uploads, lists, content. Bytes are streamed both ways."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.content import BYTES, file_response
from api.deps import InReader, InServices, InSubmitter
from api.file_store import add_file, find_file
from api.multipart import read_form
from api.openapi import BINARY, Schema, describes, form_of
from api.paging import After, Order
from api.schemas.expiry import LONGEST, SHORTEST, expiry_of_form, lifetime
from api.schemas.files import PURPOSES, DeletedFile, FileObject, check_purpose, file_object
from api.schemas.lists import page_of
from api.wire import reply
from store import files
from store.db import borrow

UPLOAD_FIELDS: dict[str, Schema] = {
    "purpose": {"type": "string", "enum": list(PURPOSES)},
    "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
    "expires_after[seconds]": {"type": "integer", "minimum": SHORTEST, "maximum": LONGEST},
}

router = APIRouter()


@router.post(
    "/v1/files", openapi_extra=describes(form=form_of("file", UPLOAD_FIELDS, "purpose"), reply=FileObject)
)
async def create_file(request: Request, services: InServices, caller: InSubmitter) -> Response:
    """Store an uploaded file. Raises `ApiError` (invalid_purpose, file_too_large, invalid_value, …)."""
    limit = services.settings.max_file_bytes
    async with read_form(request, services.blobs, file_field="file", limit=limit) as form:
        purpose = check_purpose(form.fields.get("purpose"))
        keep_for = lifetime(purpose, expiry_of_form(form.fields))
        row = await add_file(
            services, caller, form.blob, purpose=purpose, filename=form.filename, lifetime=keep_for
        )
        form.keep()
    return reply(file_object(row))


@router.get("/v1/files", openapi_extra=describes(page_of=FileObject))
async def list_files(
    services: InServices,
    caller: InReader,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Order = "desc",
    purpose: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]+$")] = None,
    sha256: Annotated[str | None, Query(pattern=r"^[0-9a-fA-F]{64}$")] = None,
) -> Response:
    """Page by page; with `sha256` the newest uploaded one with these bytes, if there is one."""
    if after is not None:
        await find_file(services, caller, after, param="after")
    async with borrow(services.pool) as conn:
        if sha256 is not None:
            found = await files.find_by_digest(conn, caller.project_id, sha256.lower())
            wanted = found is not None and purpose in (None, found.purpose)
            return reply(page_of([file_object(found)] if found and wanted else [], has_more=False))
        rows, has_more = await files.page(
            conn, caller.project_id, purpose=purpose, after=after, limit=limit, order=order
        )
    return reply(page_of([file_object(row) for row in rows], has_more=has_more))


@router.get("/v1/files/{file_id}", openapi_extra=describes(reply=FileObject))
async def retrieve_file(file_id: str, services: InServices, caller: InReader) -> Response:
    return reply(file_object(await find_file(services, caller, file_id)))


@router.get("/v1/files/{file_id}/content", openapi_extra=describes(reply=BINARY, media=BYTES))
async def retrieve_content(file_id: str, services: InServices, caller: InReader) -> Response:
    return await file_response(services, await find_file(services, caller, file_id))


@router.delete("/v1/files/{file_id}", openapi_extra=describes(reply=DeletedFile))
async def delete_file(file_id: str, services: InServices, caller: InSubmitter) -> Response:
    """The row goes first: a crash in between leaves bytes without a file, never the reverse."""
    await find_file(services, caller, file_id)
    async with borrow(services.pool) as conn:
        deleted = await files.delete(conn, file_id, caller.project_id)
    if deleted is not None and deleted.blob is not None:
        await asyncio.to_thread(services.blobs.delete, deleted.blob)
    return reply(DeletedFile(id=file_id))
