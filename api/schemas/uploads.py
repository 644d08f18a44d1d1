"""Uploads on the wire: a large file that arrives in parts (OpenAI's upload object)."""

from typing import Annotated, Literal

import msgspec

from api.schemas.expiry import ExpiresAfter
from api.schemas.files import FileObject, file_object
from api.schemas.times import unix
from store.files import FileRow
from store.uploads import PartRow, UploadRow

MAX_PART_BYTES = 64 * 1024**2  # OpenAI's bound, and the size of the client's parts
MAX_PARTS = 10_000

Printable = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]{1,255}$")]


class UploadCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    bytes: Annotated[int, msgspec.Meta(ge=1)]
    filename: Printable
    mime_type: Printable
    purpose: str
    expires_after: ExpiresAfter | None = None


class UploadComplete(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    part_ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_PARTS)]
    md5: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{32}$")] | None = None


class UploadObject(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: str
    file: FileObject | None = None


class UploadPartObject(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str


def upload_object(row: UploadRow, file: FileRow | None = None) -> UploadObject:
    return UploadObject(
        id=row.id,
        bytes=row.size_bytes,
        created_at=unix(row.created_at),
        expires_at=unix(row.expires_at),
        filename=row.filename,
        purpose=row.purpose,
        status=row.state,
        file=file_object(file) if file else None,
    )


def part_object(row: PartRow) -> UploadPartObject:
    return UploadPartObject(id=row.id, created_at=unix(row.created_at), upload_id=row.upload_id)
