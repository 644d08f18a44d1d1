"""Operations on the wire."""

from typing import Literal

import msgspec

from api.schemas.times import unix
from store.slots import SlotRow


class Health(msgspec.Struct, kw_only=True):
    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`detail` says what to do, where somebody has to do something."""

    status: Literal["ready", "unavailable"]
    database: bool
    redis: bool
    workers: int
    detail: str | None = None


class WorkerObject(msgspec.Struct, kw_only=True):
    """A slot that is alive; `model` and `runtime` are what its engine has loaded."""

    id: str
    object: Literal["worker"] = "worker"
    host: str
    pid: int
    cores: list[int]
    families: list[str]
    model: str | None
    runtime: str | None
    started_at: int


class WorkerList(msgspec.Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[WorkerObject]


def worker_object(row: SlotRow) -> WorkerObject:
    return WorkerObject(
        id=f"slot_{row.id}",
        host=row.host,
        pid=row.pid,
        cores=list(row.cores),
        families=list(row.families),
        model=row.model,
        runtime=row.runtime,
        started_at=unix(row.started_at),
    )
