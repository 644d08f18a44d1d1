"""Operations on the wire."""

from typing import Literal

import msgspec

from api.schemas.times import unix
from store.overview import LaneRow, PauseRow
from store.slots import SlotRow


class Health(msgspec.Struct, kw_only=True):
    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`missing` says in sentences what keeps work from being done, `detail` what keeps calls from being
    answered; both say what to do about it."""

    status: Literal["ready", "unavailable"]
    database: bool
    redis: bool
    workers: int
    detail: str | None = None
    missing: list[str] = []


class WorkerObject(msgspec.Struct, kw_only=True):
    """A slot that is alive, as of the last renewal of its lease.

    `model` and `runtime` are what it used last, `loaded` every model that its engines hold. `working_on`
    names an item of yours in flight, `job_…:number`; `rate` counts parts per second.
    """

    id: str
    object: Literal["worker"] = "worker"
    host: str
    pid: int
    cores: list[int]
    families: list[str]
    model: str | None
    runtime: str | None
    loaded: list[str]
    working_on: str | None
    rate: float | None
    memory_mb: int | None
    started_at: int


class WorkerList(msgspec.Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[WorkerObject]


class QueuedItems(msgspec.Struct, kw_only=True):
    """`running`: a slot has claimed some of it; `held`: its job may not run now."""

    waiting: int
    running: int
    held: int


class HeldJobs(msgspec.Struct, kw_only=True):
    """Jobs that may not run now, by reason: the model is paused, the window closed, the time not come."""

    paused: int
    window: int
    not_before: int


class QueuedJobs(msgspec.Struct, kw_only=True):
    waiting: int
    running: int
    held: HeldJobs


class LaneObject(msgspec.Struct, kw_only=True):
    """`oldest_seconds`: how long the oldest job waits of which nothing runs yet; null if none does."""

    lane: str
    items: QueuedItems
    jobs: QueuedJobs
    oldest_seconds: float | None


class QueueObject(msgspec.Struct, kw_only=True):
    """A family, the live slots that serve it, and its open jobs by lane."""

    family: str
    object: Literal["queue"] = "queue"
    slots: int
    lanes: list[LaneObject]


class PausedModel(msgspec.Struct, kw_only=True):
    """A model that is held back: at `probe_at` one of its jobs is tried again."""

    model: str
    reason: str
    paused_at: int
    probe_at: int | None
    probes: int
    jobs: int


class QueueList(msgspec.Struct, kw_only=True):
    """`validating` and `finalizing` jobs wait for the dispatcher, not for a slot."""

    object: Literal["list"] = "list"
    data: list[QueueObject]
    validating: int
    finalizing: int
    paused_models: list[PausedModel]


class Prune(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`dry_run` only counts."""

    dry_run: bool = False


class Pruned(msgspec.Struct, kw_only=True):
    """What was deleted, or with `dry_run` what would be: jobs by view, uploads and files, the bytes of those
    on disk, events of webhooks."""

    object: Literal["prune"] = "prune"
    dry_run: bool
    jobs: dict[str, int]
    files: int
    bytes: int
    events: int


def worker_object(row: SlotRow, *, is_ours: bool) -> WorkerObject:
    """`is_ours`: what it works on is of the caller's project, who may see it."""
    return WorkerObject(
        id=f"slot_{row.id}",
        host=row.host,
        pid=row.pid,
        cores=list(row.cores),
        families=list(row.families),
        model=row.model,
        runtime=row.runtime,
        loaded=list(row.loaded),
        working_on=row.working_on if is_ours else None,
        rate=row.rate,
        memory_mb=row.memory_mb,
        started_at=unix(row.started_at),
    )


def queue_object(family: str, slots: int, rows: list[LaneRow]) -> QueueObject:
    return QueueObject(family=family, slots=slots, lanes=[_lane_object(row) for row in rows])


def paused_model(row: PauseRow) -> PausedModel:
    return PausedModel(
        model=row.model,
        reason=row.reason,
        paused_at=unix(row.paused_at),
        probe_at=unix(row.probe_at),
        probes=row.probes,
        jobs=row.jobs,
    )


def _lane_object(row: LaneRow) -> LaneObject:
    held = HeldJobs(paused=row.held_paused, window=row.held_window, not_before=row.held_not_before)
    return LaneObject(
        lane=row.lane,
        items=QueuedItems(waiting=row.items_waiting, running=row.items_running, held=row.items_held),
        jobs=QueuedJobs(waiting=row.jobs_waiting, running=row.jobs_running, held=held),
        oldest_seconds=row.oldest_seconds,
    )
