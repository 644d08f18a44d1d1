"""Bodies: read under a limit, decoded with errors that name the field."""

import asyncio
from collections.abc import Iterable

import msgspec
import pytest
from fastapi import Request

from api.errors import ApiError
from api.schemas.work import Work
from api.wire import decode, read_body


def request_of(chunks: Iterable[bytes], content_length: int | None = None) -> Request:
    """A request whose body arrives in `chunks`."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    arriving = iter(messages)

    async def receive() -> dict[str, object]:
        return next(arriving)

    headers = [] if content_length is None else [(b"content-length", str(content_length).encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


def test_a_body_arrives_whole() -> None:
    assert asyncio.run(read_body(request_of([b"ab", b"", b"cd"]), 4)) == b"abcd"


@pytest.mark.parametrize("request_", [request_of([b"abc", b"de"]), request_of([], content_length=5)])
def test_a_body_over_the_limit_is_refused(request_: Request) -> None:
    with pytest.raises(ApiError) as caught:
        asyncio.run(read_body(request_, 4))
    assert caught.value.code == "body_too_large"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{}", "missing_required_parameter", "endpoint"),
        (b'{"endpoint": 1}', "invalid_type", "endpoint"),
        (b'{"endpoint": "/v1/embeddings", "endpiont": 1}', "invalid_request", "endpiont"),
        (b'{"endpoint": "e", "output_expires_after": {"anchor": "created_at"}}',
         "missing_required_parameter", "output_expires_after.seconds"),
        (b'{"endpoint": "e", "output_expires_after": {"anchor": "created_at", "seconds": 5}}',
         "invalid_value", "output_expires_after.seconds"),
        (b'{"endpoint": "e", "output_expires_after": {"anchor": "last_used_at", "seconds": 3600}}',
         "invalid_value", "output_expires_after.anchor"),
        (b'{"endpoint": "e", "metadata": {"a": 1}}', "invalid_type", "metadata"),
        (b'{"endpoint": "e", "metadata": {"a": "' + b"x" * 513 + b'"}}', "invalid_value", "metadata"),
        (b'{"endpoint": "e", "requests": [{"custom_id": "a"}]}',
         "missing_required_parameter", "requests[0].body"),
        (b"[]", "invalid_type", None),
        (b"", "invalid_json", None),
        (b'{"endpoint": NaN}', "invalid_json", None),
        (b'{"endpoint": "\xff"}', "invalid_json", None),
        (b'{"endpoint": "e", "requests": [{"body": ' + b"[" * 100_000, "invalid_json", None),
    ],
)  # fmt: skip
def test_a_wrong_body_names_its_field(body: bytes, code: str, param: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        decode(body, Work)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_a_body_becomes_its_struct() -> None:
    work = decode(b'{"endpoint": "e", "requests": [{"body": {"n": [1,\n2]}}]}', Work)
    assert work.requests is not None
    assert msgspec.json.decode(work.requests[0].body) == {"n": [1, 2]}
