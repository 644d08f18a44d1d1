"""The lines of a job's input file: OpenAI's `{"custom_id", "method", "url", "body"}`, checked one by one.

What is wrong with a line's form is found here; what is wrong with its body is that item's own affair, once
it is computed. Lines are read one at a time and never longer than the limit, so a file of any size takes
the memory of its longest line.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

BOM = b"\xef\xbb\xbf"
MAX_CUSTOM_ID = 512
MAX_ERRORS = 100


@dataclass(frozen=True, kw_only=True)
class LineRules:
    """What lines must be like. `strict` is a batch: custom_id, method and url may not be left out.

    `default_model` stands in where a body names none; None: every body must. All bodies of a file name
    one model; `model_of` tells which one a name stands for, and is asked only where two names differ.
    """

    endpoint: str
    max_items: int
    max_line_bytes: int
    max_bytes: int | None = None
    default_model: str | None = None
    strict: bool = True
    model_of: Callable[[str], str] = str


class Request(NamedTuple):
    """A line that is as it should be. `body` is the JSON as it was written."""

    line: int
    custom_id: str
    model: str
    body: bytes


class LineError(NamedTuple):
    """What is wrong with a line (or with the file: None), as `errors.data[]` has it."""

    code: str
    line: int | None
    message: str
    param: str | None = None


class _Line(msgspec.Struct):
    """A line, its values unchecked. A body is kept as bytes, which checks that it is JSON."""

    custom_id: Any = None
    method: Any = None
    url: Any = None
    body: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct):
    """What must be known of a body here; the rest of it is skipped."""

    model: Any = None


class _Refused(Exception):
    """(code, message, param) of a line at fault."""


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_body = msgspec.json.Decoder(_Body).decode


def read_requests(path: Path, rules: LineRules) -> Iterator[Request | LineError]:
    """The requests of a file, in order, with the errors between them. Line numbers count from 1.

    Duplicate custom_ids are not noticed (`check_requests` does). Raises OSError.
    """
    if rules.max_bytes is not None and os.stat(path).st_size > rules.max_bytes:
        yield LineError("batch_file_too_large", None, f"The file is larger than {rules.max_bytes:,} bytes.")
        return
    found, model = 0, rules.default_model
    with path.open("rb") as file:
        for number, raw in _lines(file, rules.max_line_bytes):
            found += 1
            if found > rules.max_items:
                yield LineError("too_many_lines", number, f"More than {rules.max_items:,} lines.")
                return
            try:
                request = _parse(number, raw, rules, model)
            except _Refused as error:
                code, message, param = error.args
                yield LineError(code, number, message, param)
                continue
            model = request.model
            yield request
    if not found:
        yield LineError("empty_file", None, "The file has no request.")


def check_requests(path: Path, rules: LineRules) -> list[LineError]:
    """All that is wrong with a file, duplicate custom_ids too, up to `MAX_ERRORS`. Raises OSError."""
    errors: list[LineError] = []
    lines: dict[str, int] = {}
    for found in read_requests(path, rules):
        if isinstance(found, LineError):
            errors.append(found)
        elif (first := lines.setdefault(found.custom_id, found.line)) != found.line:
            message = f"The custom_id {found.custom_id[:80]!r} is that of line {first} already."
            errors.append(LineError("duplicate_custom_id", found.line, message, "custom_id"))
        if len(errors) >= MAX_ERRORS:
            break
    return errors


def _lines(file: BinaryIO, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """(number, line) without line ends; None for a line that is longer than `limit`. Blank lines count,
    but are left out."""
    number = 0
    while raw := file.readline(limit + 2):  # the limit, and \r\n
        number += 1
        if number == 1:
            raw = raw.removeprefix(BOM)
        is_cut = len(raw) > limit + 1 and not raw.endswith(b"\n")
        if is_cut:
            _skip_line(file, limit)
        line = raw.strip()
        if is_cut or len(line) > limit:
            yield number, None
        elif line:
            yield number, line


def _skip_line(file: BinaryIO, step: int) -> None:
    while (rest := file.readline(step)) and not rest.endswith(b"\n"):
        pass


def _parse(number: int, raw: bytes | None, rules: LineRules, model: str | None) -> Request:
    """`model` is what the lines before named. Raises _Refused."""
    if raw is None:
        raise _Refused("line_too_long", f"The line is longer than {rules.max_line_bytes:,} bytes.", None)
    if not raw.isascii():
        _check_utf8(raw)
    try:
        line = _decode_line(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _Refused("invalid_json_line", f"The line is not a JSON object: {error}.", None) from None
    custom_id = _custom_id(line.custom_id, number, strict=rules.strict)
    if line.method != "POST" and (rules.strict or line.method is not None):
        raise _Refused("invalid_method", "The method must be 'POST'.", "method")
    if line.url != rules.endpoint and (rules.strict or line.url is not None):
        raise _Refused("invalid_url", f"The url must be the job's endpoint, {rules.endpoint!r}.", "url")
    body = bytes(line.body)
    return Request(number, custom_id, _model(body, model, rules), body)


def _check_utf8(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        message = f"The line is not UTF-8: byte {error.start + 1} is {raw[error.start]:#04x}."
        raise _Refused("invalid_utf8", message, None) from None


def _custom_id(value: Any, number: int, *, strict: bool) -> str:
    if value is None:
        if strict:
            raise _Refused("missing_custom_id", "The line has no custom_id.", "custom_id")
        return f"line-{number}"
    if not isinstance(value, str):
        raise _Refused("invalid_type", "The custom_id must be a string.", "custom_id")
    if not 0 < len(value) <= MAX_CUSTOM_ID or "\0" in value:
        message = f"The custom_id must have 1 to {MAX_CUSTOM_ID} characters, none of them NUL."
        raise _Refused("invalid_value", message, "custom_id")
    return value


def _model(body: bytes, model: str | None, rules: LineRules) -> str:
    """The model of a line, under the name that the first one gave it."""
    if not body.startswith(b"{"):
        raise _Refused("missing_body", "The line has no body that is an object.", "body")
    try:
        named = _decode_body(body).model
    except RecursionError as error:
        raise _Refused("invalid_json_line", f"The line is not a JSON object: {error}.", None) from None
    if named is None:
        if rules.default_model is None:
            raise _Refused("missing_required_parameter", "The body names no model.", "body.model")
        return rules.default_model
    if not isinstance(named, str):
        raise _Refused("invalid_type", "The model must be a string.", "body.model")
    if model is None or named == model:
        return named
    if rules.model_of(named) != rules.model_of(model):
        message = f"The line names the model {named[:80]!r}, where {model[:80]!r} is expected."
        raise _Refused("model_mismatch", message, "body.model")
    return model
