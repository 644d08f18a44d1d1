"""Usage on the wire (ours)."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from store.usage import UsageRow


class UsageObject(msgspec.Struct, kw_only=True):
    """A sum; `key`, `day` or `endpoint` are null where it goes over all of them. `items` have a result or an
    error, `errors` among them; `cpu_seconds` is what engines took of a core."""

    object: Literal["usage"] = "usage"
    key: str | None
    key_name: str | None
    project: str | None
    day: str | None
    endpoint: str | None
    items: int
    errors: int
    tokens: int
    audio_seconds: float
    images: int
    cpu_seconds: float


class UsageList(msgspec.Struct, kw_only=True):
    """Not paged. `start` and `end` are days (UTC), both included."""

    object: Literal["list"] = "list"
    start: str
    end: str
    data: Sequence[UsageObject]


def usage_object(row: UsageRow) -> UsageObject:
    return UsageObject(
        key=row.key_id,
        key_name=row.key_name,
        project=row.project,
        day=row.day.isoformat() if row.day else None,
        endpoint=row.endpoint,
        items=row.items,
        errors=row.errors,
        tokens=row.tokens,
        audio_seconds=row.audio_ms / 1000,
        images=row.images,
        cpu_seconds=row.cpu_ms / 1000,
    )
