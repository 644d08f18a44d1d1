"""The envelope of lists. The client pages with `after=<last id>` until `has_more` is false."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec


class Page(msgspec.Struct, kw_only=True):
    """One page of a list, newest first unless asked otherwise."""

    object: Literal["list"] = "list"
    data: Sequence[Any]
    first_id: str | None
    last_id: str | None
    has_more: bool


def page_of(data: Sequence[Any], *, has_more: bool) -> Page:
    """A page of objects that have an `id`."""
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return Page(data=data, first_id=first, last_id=last, has_more=has_more)
