"""What is handed in by `/v1/jobs` and `/v1/batches`: one endpoint, requests, and when they are to run."""

import re
from typing import Annotated

import msgspec

from api.errors import ApiError
from api.schemas.expiry import ExpiresAfter
from api.schemas.inline import InlineRequest

# OpenAI's bounds.
Metadata = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]],
    msgspec.Meta(max_length=16),
]
_WINDOW = re.compile(r"([0-9]{1,5})([mhd])", re.ASCII)  # OpenAI knows 24h only
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


class Work(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be done: one endpoint, and requests in a file, inline, or just the body of one.

    `model` stands in where requests name none. A batch takes 24 hours unless told otherwise, a job any
    time. `window` are the hours in which it may run, in `timezone`; `not_before` is a moment
    (`api/moments.py`).
    """

    endpoint: str
    input_file_id: str | None = None
    requests: list[InlineRequest] | None = None
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    model: str | None = None
    completion_window: str | None = None
    window: str | None = None
    timezone: str | None = None
    not_before: int | float | str | None = None
    priority: Annotated[int, msgspec.Meta(ge=-100, le=100)] = 0
    metadata: Metadata | None = None
    webhook_url: str | None = None
    output_expires_after: ExpiresAfter | None = None


def seconds_of(window: str) -> float:
    """`24h` → 86,400; minutes, hours or days. Raises `ApiError` (invalid_value)."""
    found = _WINDOW.fullmatch(window)
    if found is None or int(found[1]) == 0:
        message = (
            f"Invalid 'completion_window' {window[:40]!r}: it takes a number from 1 to 99999 and m, h or d, "
            "such as 30m, 24h or 7d."
        )
        raise ApiError("invalid_value", message, param="completion_window")
    return float(found[1]) * _SECONDS[found[2]]
