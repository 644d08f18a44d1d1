"""The one door in: rows → commit → poke; nobody listens? a wake-up. Lost? the dispatcher repeats it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from celery import Celery
from psycopg_pool import AsyncConnectionPool

from backends.types import Lane
from configs.models import ModelSpec
from configs.settings import Settings
from store import calls, jobs
from store.db import map_errors
from store.ids import View, new_suffix
from store.items import NewItem
from tasks.app import make_app, send_wake_up
from tasks.signals import AsyncSignals

log = structlog.get_logger(__name__)

SCOPES = frozenset({"submit", "read", "admin"})


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls, as its API key says. Without keys everybody is `anonymous`, who may do everything."""

    project_id: int = 1
    key_id: int = 1
    scopes: frozenset[str] = SCOPES
    priority_cap: int = 100
    requests_per_minute: int | None = None
    max_queued_items: int | None = None


@dataclass(frozen=True, kw_only=True)
class Submitted:
    job_id: int
    suffix: str


@dataclass(frozen=True, kw_only=True)
class FileJob:
    """A job whose items are the lines of a file. `model` None: the lines name it."""

    view: View
    endpoint: str
    input_file_id: str
    model: str | None = None
    completion_window: str | None = None
    deadline_seconds: float | None = None
    not_before: datetime | None = None
    run_window: str | None = None
    timezone: str | None = None
    webhook_url: str | None = None
    priority: int = 0
    output_expires_seconds: int | None = None
    metadata: Mapping[str, Any] | None = None


class Submitter:
    """Submits for one API process."""

    def __init__(self, settings: Settings, pool: AsyncConnectionPool, signals: AsyncSignals) -> None:
        self._pool = pool
        self._signals = signals
        self._app: Celery = make_app(settings)

    async def call(
        self, *, endpoint: str, bodies: Sequence[bytes], spec: ModelSpec, caller: Caller
    ) -> Submitted:
        """Submit one request that somebody waits for; `bodies` are its parts. Raises DatabaseUnavailable.

        Committed without waiting for the disk: a crash of Postgres loses the call, whose caller is still
        there to be told, and not a promise.
        """
        suffix = new_suffix()
        job = jobs.NewJob(
            suffix=suffix,
            view="call",
            project_id=caller.project_id,
            key_id=caller.key_id,
            endpoint=endpoint,
            family=spec.family,
            model=spec.name,
            cores=spec.cores,
            lane=Lane.INTERACTIVE,
            announced=False,
            waiters=1,
        )
        item = NewItem(custom_id=suffix, body=bodies[0], more_bodies=tuple(bodies[1:]))
        with map_errors():
            async with self._pool.connection() as conn:
                job_id = await calls.insert_call(conn, job, [item])
        await self.wake(spec.family)
        return Submitted(job_id=job_id, suffix=suffix)

    async def from_file(self, job: FileJob, caller: Caller) -> Submitted:
        """Submit the lines of a file. They are validated later, by the dispatcher; committed to disk."""
        suffix = new_suffix()
        row = jobs.NewJob(
            suffix=suffix,
            view=job.view,
            project_id=caller.project_id,
            key_id=caller.key_id,
            endpoint=job.endpoint,
            family="",  # known with the model, once the first line has been read
            model=job.model or "",
            cores=1,
            lane=Lane.BULK,
            priority=min(job.priority, caller.priority_cap),
            completion_window=job.completion_window,
            deadline_seconds=job.deadline_seconds,
            not_before=job.not_before,
            run_window=job.run_window,
            timezone=job.timezone,
            webhook_url=job.webhook_url,
            input_file_id=job.input_file_id,
            output_expires_seconds=job.output_expires_seconds,
            meta=dict(job.metadata) if job.metadata is not None else None,
        )
        with map_errors():
            async with self._pool.connection() as conn:
                job_id = await jobs.insert_validating(conn, row)
        await self._signals.poke_dispatcher()
        return Submitted(job_id=job_id, suffix=suffix)

    async def wake(self, family: str) -> None:
        """Tell the slots of a family that there is work. Never raises: the dispatcher repeats it."""
        if await self._signals.poke(family) == 0:
            try:
                await asyncio.to_thread(send_wake_up, self._app, family)
            except Exception as error:  # kombu raises what its transport does
                log.warning("wake_up.not_sent", family=family, error=str(error))
