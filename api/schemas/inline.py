"""Requests that come inside the call instead of as a file. They are stored as one, so that
`input_file_id` is real and can be read back."""

from collections.abc import Iterator, Sequence

import msgspec

from api.errors import ApiError
from store.lines import MAX_CUSTOM_ID


class InlineRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A line of an input file, of which only the body is required."""

    custom_id: str | None = None
    method: str = "POST"
    url: str | None = None
    body: msgspec.Raw


def check_requests(requests: Sequence[InlineRequest], endpoint: str) -> None:
    """Raises `ApiError` that names the first request at fault, by its index.

    What is wrong inside a body is its item's own error, once it is computed.
    """
    if not requests:
        raise ApiError("invalid_value", "Invalid 'requests': it is empty.", param="requests")
    seen: dict[str, int] = {}
    for index, request in enumerate(requests):
        custom_id = custom_id_of(request, index)
        _check_custom_id(custom_id, index)
        if (first := seen.setdefault(custom_id, index)) != index:
            message = f"The custom_id {custom_id[:80]!r} is that of requests[{first}] already."
            raise ApiError("duplicate_custom_id", message, param=f"requests[{index}].custom_id")
        _check_form(request, index, endpoint)


def custom_id_of(request: InlineRequest, index: int) -> str:
    """The one given, or request-1, request-2, …"""
    return f"request-{index + 1}" if request.custom_id is None else request.custom_id


def lines_of(requests: Sequence[InlineRequest], endpoint: str) -> Iterator[bytes]:
    """The lines of the file: `url` is the endpoint unless given."""
    for index, request in enumerate(requests):
        line = msgspec.structs.replace(
            request,
            custom_id=custom_id_of(request, index),
            url=request.url or endpoint,
            body=msgspec.Raw(
                msgspec.json.format(request.body, indent=-1)
            ),  # a body of many lines becomes one
        )
        yield msgspec.json.encode(line) + b"\n"


def _check_custom_id(custom_id: str, index: int) -> None:
    if 0 < len(custom_id) <= MAX_CUSTOM_ID and "\0" not in custom_id:
        return
    message = (
        f"Invalid 'requests[{index}].custom_id': it must have 1 to {MAX_CUSTOM_ID} characters, none of them "
        f"NUL; this one has {len(custom_id):,}."
    )
    raise ApiError("invalid_value", message, param=f"requests[{index}].custom_id")


def _check_form(request: InlineRequest, index: int, endpoint: str) -> None:
    where = f"requests[{index}]"
    if not bytes(request.body).lstrip().startswith(b"{"):
        message = f"Invalid '{where}.body': it must be an object."
        raise ApiError("invalid_type", message, param=f"{where}.body")
    if request.method != "POST":
        raise ApiError("invalid_method", "The method must be 'POST'.", param=f"{where}.method")
    if request.url is not None and request.url != endpoint:
        message = f"The url must be the job's endpoint, {endpoint!r}."
        raise ApiError("invalid_url", message, param=f"{where}.url")
