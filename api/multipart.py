"""Multipart forms with one file, streamed: the file's bytes go from the socket into a blob, never into memory
as a whole, nor through a temporary file of the framework.

Fields may come before or after the file, so what they say is the route's to check once all is read; a
route that refuses leaves no blob behind.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.errors import ApiError
from api.wire import declared_bytes
from store.blobs import Blob, Blobs, BlobTooLarge, BlobWriter

# One hop to a thread per megabyte: a hop costs 0.1 ms, and a slow disk must not hold up the event loop.
FLUSH_BYTES = 1024**2
MAX_FIELD_BYTES = 64 * 1024
MAX_FIELDS = 128
MAX_FILENAME = 255


class Form:
    """What a form held: its text fields as they came, and its file as a blob.

    The blob is deleted when the form is left, unless `keep` was called.
    """

    def __init__(self, pairs: list[tuple[str, str]], filename: str, blob: Blob | None) -> None:
        self.pairs = pairs
        self.filename = filename
        self.file = blob
        self.kept = False

    @property
    def fields(self) -> dict[str, str]:
        """By name; of a field that came several times the last."""
        return dict(self.pairs)

    @property
    def blob(self) -> Blob:
        """The file of a form that must have one."""
        assert self.file is not None
        return self.file

    def keep(self) -> None:
        self.kept = True


@asynccontextmanager
async def read_form(
    request: Request, blobs: Blobs, *, file_field: str, limit: int, optional: bool = False
) -> AsyncIterator[Form]:
    """Read the whole form; the part named `file_field` becomes a blob of at most `limit` bytes.

    Raises `ApiError`: file_too_large, invalid_request (not a multipart form, or a broken one),
    missing_required_parameter (no such file in it, unless that is `optional`).
    """
    boundary = _boundary(request)
    if declared_bytes(request) > limit + MAX_FIELDS * MAX_FIELD_BYTES:
        raise _too_large(file_field, limit)
    reader = _FormReader(boundary, file_field, optional)
    form = await _receive(request, blobs, reader, limit)
    try:
        yield form
    finally:
        if form.file is not None and not form.kept:
            await asyncio.to_thread(blobs.delete, form.file.name)


async def _receive(request: Request, blobs: Blobs, reader: "_FormReader", limit: int) -> Form:
    writer = await asyncio.to_thread(blobs.create, limit=limit)
    try:
        async for chunk in request.stream():
            reader.write(chunk)
            if len(reader.pending) >= FLUSH_BYTES:
                await _flush(reader, writer)
        await _flush(reader, writer)
        reader.check_complete()
        blob = await asyncio.to_thread(writer.commit) if reader.file_seen else None
    except BlobTooLarge:
        raise _too_large(reader.file_field, limit) from None
    except FormParserError as error:
        raise ApiError("invalid_request", f"The multipart form is broken: {error}.") from None
    finally:
        await asyncio.to_thread(writer.abort)  # does nothing after a commit
    return Form(reader.pairs, reader.filename or "upload", blob)


async def _flush(reader: "_FormReader", writer: BlobWriter) -> None:
    await asyncio.to_thread(writer.write, reader.take_pending())


def _too_large(file_field: str, limit: int) -> ApiError:
    return ApiError("file_too_large", f"The file is larger than {limit:,} bytes.", param=file_field)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise ApiError("invalid_request", "The body must be a multipart/form-data form with a boundary.")
    return boundary


class _FormReader:
    """Sorts what the parser finds into text fields and the bytes of the one file, which `take_pending`
    hands out as they come."""

    def __init__(self, boundary: bytes, file_field: str, optional: bool) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.file_field = file_field
        self.file_seen = False
        self.filename: str | None = None
        self.pending = bytearray()
        self._optional = optional
        self._complete = False
        self._disposition = self._header = self._value = b""
        self._name = ""
        self._text = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def take_pending(self) -> bytearray:
        taken, self.pending = self.pending, bytearray()
        return taken

    def check_complete(self) -> None:
        """Raise `ApiError` when the form broke off or had no file."""
        if not self._complete:
            raise ApiError("invalid_request", "The multipart form ends before its last boundary.")
        if not self.file_seen and not self._optional:
            raise ApiError(
                "missing_required_parameter",
                f"Missing required parameter: '{self.file_field}'.",
                param=self.file_field,
            )

    @property
    def _in_file(self) -> bool:
        return self._name == self.file_field

    def _begin_part(self) -> None:
        self._disposition, self._name, self._text = b"", "", bytearray()

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._in_file:
            if self.file_seen:
                raise ApiError("invalid_request", "The form holds more than one file.", param=self.file_field)
            self.file_seen = True
            self.filename = _clean_filename(options.get(b"filename", b""))
        elif len(self.pairs) >= MAX_FIELDS:
            raise ApiError("invalid_request", f"The form has more than {MAX_FIELDS} fields.")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self.pending += data[start:end]
            return
        self._text += data[start:end]
        if len(self._text) > MAX_FIELD_BYTES:
            raise ApiError("invalid_value", f"The field '{self._name}' is too long.", param=self._name)

    def _end_part(self) -> None:
        if not self._in_file:
            self.pairs.append((self._name, self._text.decode("utf-8", "replace")))

    def _end(self) -> None:
        self._complete = True


def _clean_filename(raw: bytes) -> str | None:
    """The name without its folders and what no database or header takes; None when nothing is left."""
    name = raw.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in name if char.isprintable())[:MAX_FILENAME] or None
