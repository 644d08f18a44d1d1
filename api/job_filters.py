"""The query parameters that choose among jobs and items."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar, get_args

from fastapi import Query
from pydantic import Field

from api.errors import ApiError
from api.moments import parse_moment
from store.ids import View
from store.job_pages import JobFilter
from store.states import ItemState, JobState

Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]+$")]
Several = Annotated[
    list[Annotated[str, Field(max_length=200)]] | None,
    Query(max_length=20, description="one or several, with commas between or each by itself"),
]
Moment = Annotated[str | None, Query(max_length=64, description="Unix seconds, or ISO 8601 with an offset")]

VIEWS: tuple[View, ...] = get_args(View)
State = TypeVar("State", bound=StrEnum)


@dataclass(frozen=True, kw_only=True)
class JobQuery:
    """How a list of jobs is asked for. `status` and `kind` may name several."""

    status: Several = None
    kind: Several = None
    model: Text = None
    endpoint: Text = None
    created_after: Moment = None
    created_before: Moment = None

    def filter(self, retry_of: int | None) -> JobFilter:
        """Raises `ApiError` (invalid_value)."""
        return JobFilter(
            views=_views(self.kind),
            states=states_of(JobState, self.status, "status"),
            model=self.model,
            endpoint=self.endpoint,
            created_after=parse_moment(self.created_after, "created_after") if self.created_after else None,
            created_before=parse_moment(self.created_before, "created_before")
            if self.created_before
            else None,
            retry_of=retry_of,
        )


def states_of(kind: type[State], given: list[str] | None, param: str) -> list[State] | None:
    """`queued,running` → the states; None for all. Raises `ApiError` (invalid_value)."""
    if given is None:
        return None
    names = ",".join(given)
    try:
        return [kind(name.strip()) for name in names.split(",")]
    except ValueError:
        raise _unknown(names, param, [state.value for state in kind]) from None


def item_states_of(given: list[str] | None) -> list[ItemState]:
    """Raises `ApiError` (invalid_value)."""
    return states_of(ItemState, given, "state") or list(ItemState)


def _views(given: list[str] | None) -> list[View] | None:
    if given is None:
        return None
    names = ",".join(given)
    found = [view for name in names.split(",") for view in VIEWS if view == name.strip()]
    if len(found) != len(names.split(",")):
        raise _unknown(names, "kind", list(VIEWS))
    return found


def _unknown(names: str, param: str, known: list[str]) -> ApiError:
    message = f"Invalid '{param}' {names[:80]!r}; it takes one or several of {', '.join(known)}."
    return ApiError("invalid_value", message, param=param)
