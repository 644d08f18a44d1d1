"""Items on the wire."""

from typing import Literal

import msgspec

from backends.types import decode_error
from store.item_states import ItemRow
from store.jobs import JobRow
from store.states import ItemState, JobState
from tasks.render import CANCELLED, EXPIRED


class ItemError(msgspec.Struct, kw_only=True):
    code: str
    message: str
    param: str | None = None


class ItemObject(msgspec.Struct, kw_only=True):
    """An item of a job. `id` is its number, with which a list goes on (`after`)."""

    id: int
    object: Literal["job.item"] = "job.item"
    custom_id: str
    state: str
    attempts: int
    strikes: int
    strike_reason: str | None
    units: int
    error: ItemError | None


class ItemPage(msgspec.Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[ItemObject]
    first_id: int | None
    last_id: int | None
    has_more: bool


def item_object(row: ItemRow, job: JobRow) -> ItemObject:
    return ItemObject(
        id=row.n,
        custom_id=row.custom_id,
        state=row.state,
        attempts=row.attempts,
        strikes=row.strikes,
        strike_reason=row.strike_reason,
        units=row.units,
        error=_error_of(row, job),
    )


def _error_of(row: ItemRow, job: JobRow) -> ItemError | None:
    """Its own; or why it never ran."""
    if row.error is not None:
        error = decode_error(row.error)
        return ItemError(code=error.code, message=error.message, param=error.param)
    if row.state == ItemState.CANCELLED:
        return ItemError(**CANCELLED)
    if row.state == ItemState.EXPIRED:
        return ItemError(**EXPIRED)
    if job.state == JobState.FAILED and row.state == ItemState.ERRORED and job.errors:
        first = job.errors["data"][0]
        return ItemError(code=first["code"], message=first["message"], param=first.get("param"))
    return None
