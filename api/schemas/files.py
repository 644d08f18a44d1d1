"""Files on the wire (OpenAI's file object)."""

from typing import Literal

import msgspec

from api.errors import ApiError
from api.schemas.times import unix
from store.files import FileRow

# What an upload may be for; outputs of jobs have a purpose of their own.
PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


class FileObject(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"  # the client's `wait_for_processing` waits for this word
    status_details: None = None


class DeletedFile(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


def file_object(row: FileRow) -> FileObject:
    return FileObject(
        id=row.id,
        bytes=row.size_bytes,
        created_at=unix(row.created_at),
        expires_at=unix(row.expires_at),
        filename=row.filename,
        purpose=row.purpose,
    )


def check_purpose(purpose: str | None) -> str:
    """Raise `ApiError` unless an upload may have this purpose."""
    if purpose is None:
        raise ApiError(
            "missing_required_parameter", "Missing required parameter: 'purpose'.", param="purpose"
        )
    if purpose not in PURPOSES:
        message = f"Invalid purpose '{purpose[:80]}'; it must be one of {', '.join(PURPOSES)}."
        raise ApiError("invalid_purpose", message, param="purpose")
    return purpose
