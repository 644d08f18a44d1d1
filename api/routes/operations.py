"""Operations: is the process alive, can it serve, who computes, what waits; and pruning by hand."""

import asyncio
from collections import defaultdict

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from api.deps import InAdmin, InReader, InServices
from api.openapi import ANY, describes, document
from api.schemas.operations import (
    Health,
    Prune,
    Pruned,
    QueueList,
    Readiness,
    WorkerList,
    paused_model,
    queue_object,
    worker_object,
)
from api.services import Services
from api.wire import JSON, decode, read_body, reply
from store import db, overview, slots
from store.db import borrow
from store.errors import DatabaseUnavailable, NotMigrated
from store.ids import suffix_of_any
from store.overview import LaneRow, Standing
from tasks.retention import Pruning, Retention

MAX_BODY_BYTES = 64 * 1024

router = APIRouter()


@router.get("/health", openapi_extra=describes(reply=Health, open_door=True))
async def health() -> Response:
    """This process answers. Asks nobody else, so that a restart is not tried for a database's sake."""
    return reply(Health())


@router.get("/ready", openapi_extra=describes(reply=Readiness, also={503: Readiness}, open_door=True))
async def ready(services: InServices) -> Response:
    """200 once calls are accepted; 503 while the database is away, or not migrated. What else is missing
    costs time, and is said: Redis, a slot, a dispatcher, models that are paused."""
    detail, standing = None, None
    try:
        async with borrow(services.pool) as conn:
            standing = await overview.standing(conn)
    except NotMigrated as error:
        detail = f"{error}"
    except DatabaseUnavailable:
        detail = "the database cannot be reached; look at its log, or at BATCHYARD_DATABASE_URL"
    redis = await services.signals.reachable()
    state = Readiness(
        status="ready" if standing else "unavailable",
        database=standing is not None,
        redis=redis,
        workers=standing.slots if standing else 0,
        detail=detail,
        missing=list(_missing(redis, standing)),
    )
    return reply(state, 200 if standing else 503)


@router.get("/openapi.json", openapi_extra=describes(reply=ANY, open_door=True))
async def openapi(request: Request) -> Response:
    """This document."""
    routes = [route for route in request.app.state.routes if isinstance(route, APIRoute)]
    return Response(await asyncio.to_thread(_encoded, routes), media_type=JSON)


@router.get("/v1/workers", openapi_extra=describes(reply=WorkerList))
async def list_workers(services: InServices, caller: InReader) -> Response:
    """The slots that are alive: their cores, what they have loaded, what they are at."""
    async with borrow(services.pool) as conn:
        rows = await slots.live(conn)
        suffixes = {row.id: _suffix_in(row.working_on) for row in rows}
        ours = await overview.owned(conn, caller.project_id, [*filter(None, suffixes.values())])
    return reply(WorkerList(data=[worker_object(row, is_ours=suffixes[row.id] in ours) for row in rows]))


@router.get("/v1/queues", openapi_extra=describes(reply=QueueList))
async def list_queues(services: InServices, caller: InReader) -> Response:
    """By family and lane: what waits, runs or is held back, over all projects."""
    async with borrow(services.pool) as conn:
        rows, served = await overview.lanes(conn), await overview.slots_by_family(conn)
        validating, finalizing = await overview.between(conn)
        paused = await overview.pauses(conn)
    lanes: dict[str, list[LaneRow]] = defaultdict(list)
    for row in rows:
        lanes[row.family].append(row)
    queues = QueueList(
        data=[queue_object(name, served.get(name, 0), lanes[name]) for name in sorted({*served, *lanes})],
        validating=validating,
        finalizing=finalizing,
        paused_models=[paused_model(row) for row in paused],
    )
    return reply(queues)


@router.post("/v1/prune", openapi_extra=describes(body=Prune, reply=Pruned))
async def prune(request: Request, services: InServices, caller: InAdmin) -> Response:
    """Delete what is past its time now, as the dispatcher does by and by; or say what that would be."""
    asked = decode(await read_body(request, MAX_BODY_BYTES) or b"{}", Prune)
    found = await asyncio.to_thread(_prune, services, asked.dry_run)
    return reply(
        Pruned(
            dry_run=asked.dry_run,
            jobs=dict(found.jobs),
            files=found.files,
            bytes=found.bytes,
            events=found.events,
        )
    )


def _missing(redis: bool, standing: Standing | None) -> list[str]:
    """What keeps work from being done though calls are accepted, and what to do about it."""
    found = []
    if not redis:
        found.append("Redis cannot be reached: work goes on in steps of a second until it is back")
    if standing is None:
        return found
    if not standing.slots:
        found.append("no slot is alive: jobs wait until one is; start it with: batchyard worker")
    if not standing.dispatcher:
        found.append("no dispatcher leads: files are not read, jobs do not end; start: batchyard dispatch")
    if standing.undelivered:
        found.append("no deliverer runs: events of webhooks wait; start it with: batchyard deliver")
    for model in standing.paused:
        found.append(f"model '{model}' is paused: batchyard models resume {model}")
    return found


def _suffix_in(working_on: str | None) -> str | None:
    """`job_abc:3` → `abc`."""
    return suffix_of_any(working_on.partition(":")[0]) if working_on else None


def _encoded(routes: list[APIRoute]) -> bytes:
    return orjson.dumps(document(routes))


def _prune(services: Services, dry_run: bool) -> Pruning:
    assert services.settings.database_url is not None
    retention = Retention(services.settings, services.blobs)
    with db.connect(services.settings.database_url, name="api-prune") as conn:
        return retention.preview(conn) if dry_run else retention.prune_all(conn)
