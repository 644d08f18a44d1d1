"""`/v1/usage` (ours): what API keys have used, of their own project, or with the scope `admin` of all."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.deps import InReader, InServices
from api.errors import ApiError
from api.openapi import describes
from api.schemas.usage import UsageList, usage_object
from api.wire import reply
from store import usage
from store.db import borrow
from store.usage import Dimension

USUAL_DAYS = 30

Day = Annotated[date | None, Query(description="a day (UTC), such as 2026-11-24; included")]

router = APIRouter()


@router.get("/v1/usage", openapi_extra=describes(reply=UsageList))
async def read_usage(
    services: InServices,
    caller: InReader,
    start: Day = None,
    end: Day = None,
    key: Annotated[str | None, Query(description="id of an API key", pattern="^key_[0-9a-f]{32}$")] = None,
    group_by: Annotated[list[Dimension] | None, Query(description="may be given several times")] = None,
    everything: Annotated[bool, Query(alias="all", description="of all projects; scope admin")] = False,
) -> Response:
    """Sums over jobs by the day of their submission, deleted ones too; the last 30 days unless told."""
    if everything and "admin" not in caller.scopes:
        message = "This API key may not see the usage of other projects: it lacks the scope 'admin'."
        raise ApiError("insufficient_scope", message, param="all")
    first, last = _days(start, end)
    project_id = None if everything else caller.project_id
    async with borrow(services.pool) as conn:
        key_id = await usage.find_key(conn, key, project_id) if key is not None else None
        if key is not None and key_id is None:
            raise ApiError("api_key_not_found", f"No such API key: '{key}'.", param="key")
        rows = await usage.summed(
            conn, start=first, end=last, project_id=project_id, key_id=key_id, by=group_by or ()
        )
    data = [usage_object(row) for row in rows]
    return reply(UsageList(start=first.isoformat(), end=last.isoformat(), data=data))


def _days(start: date | None, end: date | None) -> tuple[date, date]:
    """The first and the last day that are meant. Raises `ApiError` (invalid_value)."""
    last = end or datetime.now(UTC).date()
    first = start or last - min(timedelta(USUAL_DAYS - 1), last - date.min)
    if first > last:
        raise ApiError("invalid_value", f"'start' ({first}) is after 'end' ({last}).", param="start")
    return first, last
