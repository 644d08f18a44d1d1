"""The body of a single call as it came: JSON, or a form.

The file of a form becomes a blob; its fields are read as the JSON that they stand for."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request

from api.form_fields import Kind, json_of
from api.multipart import Form, read_form
from api.services import Services
from api.wire import read_body
from configs.settings import Settings
from store.blobs import Blob

FORM = "multipart/form-data"


@dataclass(frozen=True, kw_only=True)
class FormRules:
    """How an endpoint's form is read: the name of its file, which may be missing; its fields that are not
    text; the most bytes of the file."""

    file_field: str
    kinds: Mapping[str, Kind]
    limit: Callable[[Settings], int]


@dataclass(frozen=True, kw_only=True)
class CallBody:
    """`json` is the body. `form` had the file that came with it, if one did."""

    json: bytes
    form: Form | None = None

    @property
    def file(self) -> Blob | None:
        return self.form.file if self.form is not None else None

    @property
    def filename(self) -> str:
        return self.form.filename if self.form is not None else ""

    @property
    def known_by(self) -> bytes:
        """What is the same when the request is sent again; a form as such is not (its boundary)."""
        return self.json if self.file is None else self.json + self.file.sha256.encode()

    def keep(self) -> None:
        """Keep the file when the body is left: somebody has it now."""
        if self.form is not None:
            self.form.keep()


@asynccontextmanager
async def receive_body(
    request: Request, services: Services, rules: FormRules | None
) -> AsyncIterator[CallBody]:
    """Read a body whole; without `rules` it can only be JSON. The file is deleted again unless it is kept.

    Raises `ApiError` (body_too_large, and what `read_form` and `json_of` raise).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if rules is None or kind != FORM:
        yield CallBody(json=await read_body(request, services.settings.max_body_bytes))
        return
    limit = rules.limit(services.settings)
    async with read_form(
        request, services.blobs, file_field=rules.file_field, limit=limit, optional=True
    ) as form:
        yield CallBody(json=json_of(form.pairs, rules.kinds), form=form)
