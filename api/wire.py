"""JSON in and out. Bodies are read under a limit and checked against msgspec structs; replies are encoded
from them. Unknown fields are named rather than dropped, so that a typo never goes unnoticed."""

import asyncio
import re
from typing import TypeVar

import msgspec
from fastapi import Request, Response

from api.errors import ApiError

T = TypeVar("T")
JSON = "application/json"
LARGE_BYTES = 256 * 1024  # from here on JSON takes milliseconds, which nobody else should wait for

# msgspec writes "<what> - at `$.<where>`", of a key of an object "<what> - at `key` in `$.<where>`".
_PLACED = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<where>.*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object (?P<kind>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_WRONG_TYPE = re.compile(r"Expected `[^`]*`, got `[^`]*`")


async def read_json(request: Request, limit: int, kind: type[T]) -> T:
    """The body as a `kind` struct; a large one is decoded off the event loop. Raises `ApiError`."""
    body = await read_body(request, limit)
    return decode(body, kind) if len(body) < LARGE_BYTES else await asyncio.to_thread(decode, body, kind)


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises `ApiError` (body_too_large) as soon as more than `limit` bytes are sure."""
    if declared_bytes(request) > limit:
        raise _too_large(limit)
    received, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        received.append(chunk)
    return b"".join(received)


def declared_bytes(request: Request) -> int:
    """What Content-Length says, so that a body can be refused before any of it is read; 0 without one."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else 0


def _too_large(limit: int) -> ApiError:
    return ApiError("body_too_large", f"The request body is larger than {limit:,} bytes.")


def decode(body: bytes, kind: type[T]) -> T:
    """The body as a `kind` struct. Raises `ApiError` that names the field at fault."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError("invalid_json", f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise ApiError("invalid_json", "The body is nested too deeply.") from None


def reply(value: msgspec.Struct, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type=JSON)


def _wrong_field(message: str) -> ApiError:
    """Turn msgspec's sentence into a code and a param."""
    placed = _PLACED.fullmatch(message)
    what, where = (placed["what"], placed["where"] or "") if placed else (message, "")
    where = where.replace("[...]", "")  # some value of an object, which msgspec does not name
    if field := _FIELD.fullmatch(what):
        param = f"{where}.{field['name']}" if where else field["name"]
        if field["kind"] == "missing required":
            return ApiError(
                "missing_required_parameter", f"Missing required parameter: '{param}'.", param=param
            )
        return ApiError("invalid_request", f"Unknown parameter: '{param}'.", param=param)
    code = "invalid_type" if _WRONG_TYPE.fullmatch(what) else "invalid_value"
    if not where:
        return ApiError(code, f"Invalid body: {what}.")
    return ApiError(code, f"Invalid '{where}': {what}.", param=where)
