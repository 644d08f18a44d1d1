"""Moments as callers write them: Unix seconds or ISO 8601 in, aware datetimes out."""

from datetime import UTC, datetime

from api.errors import ApiError

FORMS = "Unix seconds, or ISO 8601 with an offset, such as 2026-11-24T22:00:00Z"


def parse_moment(value: int | float | str, param: str) -> datetime:
    """A moment, in UTC. Raises `ApiError` (invalid_value) that names `param`."""
    try:
        if isinstance(value, str):
            return _of_text(value)
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise ApiError("invalid_value", f"Invalid '{param}': it takes {FORMS}.", param=param) from None


def _of_text(text: str) -> datetime:
    """Raises ValueError, also for a time of which nobody knows where."""
    if "\0" in text:  # Python 3.11 reads no further, and takes what stands before it
        raise ValueError(text)
    if text.isascii() and text.isdecimal():
        return datetime.fromtimestamp(int(text), UTC)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment.astimezone(UTC)
