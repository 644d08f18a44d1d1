"""Operations: is the process alive, can it serve, who computes."""

from fastapi import APIRouter, Response

from api.deps import InReader, InServices
from api.schemas.operations import Health, Readiness, WorkerList, worker_object
from api.wire import reply
from store import slots
from store.db import borrow
from store.errors import DatabaseUnavailable, NotMigrated

router = APIRouter()


@router.get("/health")
async def health() -> Response:
    """This process answers. Asks nobody else, so that a restart is not tried for a database's sake."""
    return reply(Health())


@router.get("/ready")
async def ready(services: InServices) -> Response:
    """200 once calls are answered; 503 while the database is away, or not migrated. Redis may be away: it
    only costs time."""
    detail = None
    try:
        async with borrow(services.pool) as conn:
            live: int | None = len(await slots.live(conn))
    except NotMigrated as error:
        live, detail = None, f"{error}"
    except DatabaseUnavailable:
        live = None
    redis = await services.signals.reachable()
    state = Readiness(
        status="ready" if live is not None else "unavailable",
        database=live is not None,
        redis=redis,
        workers=live or 0,
        detail=detail,
    )
    return reply(state, 200 if live is not None else 503)


@router.get("/v1/workers")
async def list_workers(services: InServices, caller: InReader) -> Response:
    """The slots that are alive: their cores, what they serve, what they have loaded."""
    async with borrow(services.pool) as conn:
        rows = await slots.live(conn)
    return reply(WorkerList(data=[worker_object(row) for row in rows]))
