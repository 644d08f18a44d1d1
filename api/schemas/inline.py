"""Requests that come inside the call instead of as a file. They are stored as one, so that
`input_file_id` is real and can be read back."""

from collections.abc import Iterator, Sequence

import msgspec


class InlineRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A line of an input file, of which only the body is required."""

    custom_id: str | None = None
    method: str = "POST"
    url: str | None = None
    body: msgspec.Raw


def lines_of(requests: Sequence[InlineRequest], endpoint: str) -> Iterator[bytes]:
    """The lines of the file: `url` is the endpoint unless given, `custom_id` is request-1, request-2, …"""
    for number, request in enumerate(requests, 1):
        line = msgspec.structs.replace(
            request,
            custom_id=request.custom_id or f"request-{number}",
            url=request.url or endpoint,
            body=msgspec.Raw(
                msgspec.json.format(request.body, indent=-1)
            ),  # a body of many lines becomes one
        )
        yield msgspec.json.encode(line) + b"\n"
