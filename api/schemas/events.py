"""What `GET /v1/jobs/{id}/events` sends."""

import msgspec

from api.schemas.jobs import ItemCounts, RequestCounts
from store.following import EndedItem


class StandingEvent(msgspec.Struct, kw_only=True):
    """`snapshot`, `state` and `progress`: how the job stands."""

    id: str
    status: str
    counts: ItemCounts
    request_counts: RequestCounts


class EndedItemObject(msgspec.Struct, kw_only=True):
    """`id` is its number, as in the list of items."""

    id: int
    custom_id: str
    state: str


class ItemsEvent(msgspec.Struct, kw_only=True):
    """`items`: those that have ended."""

    items: list[EndedItemObject]


def ended_item(item: EndedItem) -> EndedItemObject:
    return EndedItemObject(id=item.n, custom_id=item.custom_id, state=item.state)
