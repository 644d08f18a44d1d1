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
from store.attachments import NewAttachment
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
    """A job that stands for a request. `ended`: an earlier request like this one made it, and it is over."""

    job_id: int
    suffix: str
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms a single call is submitted. `awaited`: its caller stays on the line for the answer."""

    view: View = "call"
    awaited: bool = True
    webhook_url: str | None = None
    metadata: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    fingerprint: bytes | None = None

    @property
    def announced(self) -> bool:
        """Whether the job's end is an event: for whoever is not told by the answer, or not by it alone."""
        return not self.awaited or self.webhook_url is not None

    @property
    def lasting(self) -> bool:
        """Whether something is promised that a crash of Postgres must not undo. A call that is only awaited
        has its caller on the line, who is then told."""
        return self.announced or self.idempotency_key is not None


AWAITED = Terms()


@dataclass(frozen=True, kw_only=True)
class FileJob:
    """A job whose items are the lines of a file, as many as `lines`. `model` None: the lines name it."""

    view: View
    endpoint: str
    input_file_id: str
    lines: int = 0
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
    idempotency_key: str | None = None
    fingerprint: bytes | None = None


class Submitter:
    """Submits for one API process."""

    def __init__(self, settings: Settings, pool: AsyncConnectionPool, signals: AsyncSignals) -> None:
        self._pool = pool
        self._signals = signals
        self._app: Celery = make_app(settings)

    async def call(
        self,
        *,
        endpoint: str,
        bodies: Sequence[bytes],
        spec: ModelSpec,
        caller: Caller,
        expected_seconds: float = 0.0,
        attachment: NewAttachment | None = None,
        streamed: bool = False,
        terms: Terms = AWAITED,
    ) -> Submitted:
        """Submit one request, in the lane of those who wait; `bodies` are its parts.

        `expected_seconds` is a guess at its compute, by which short calls pass long ones.
        `attachment` is a blob that the request is about; it is kept as long as the job may need it.
        `streamed`: the caller reads the result as it comes, from the job's events.
        Raises `KeyTaken`, `DatabaseUnavailable`.
        """
        suffix = new_suffix()
        job = jobs.NewJob(
            suffix=suffix,
            view=terms.view,
            project_id=caller.project_id,
            key_id=caller.key_id,
            endpoint=endpoint,
            family=spec.family,
            model=spec.name,
            cores=spec.cores,
            lane=Lane.INTERACTIVE,
            priority=min(0, caller.priority_cap),
            expected_seconds=expected_seconds,
            meta=dict(terms.metadata) if terms.metadata is not None else None,
            webhook_url=terms.webhook_url,
            announced=terms.announced,
            waiters=1 if terms.awaited else 0,
            streamed=streamed,
            idempotency_key=terms.idempotency_key,
            fingerprint=terms.fingerprint,
        )
        item = NewItem(custom_id=suffix, body=bodies[0], more_bodies=tuple(bodies[1:]))
        with map_errors():
            async with self._pool.connection() as conn:
                job_id = await calls.insert_call(
                    conn, job, [item], attachment=attachment, lasting=terms.lasting
                )
        await self.wake(spec.family)
        return Submitted(job_id=job_id, suffix=suffix)

    async def from_file(self, job: FileJob, caller: Caller) -> Submitted:
        """Submit the lines of a file. They are validated later, by the dispatcher; committed to disk.

        Raises `KeyTaken`, `DatabaseUnavailable`.
        """
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
            lines=job.lines,
            output_expires_seconds=job.output_expires_seconds,
            meta=dict(job.metadata) if job.metadata is not None else None,
            idempotency_key=job.idempotency_key,
            fingerprint=job.fingerprint,
        )
        with map_errors():
            async with self._pool.connection() as conn:
                job_id = await jobs.insert_validating(conn, row)
        log.info("job.submitted", job=suffix, view=job.view, file=job.input_file_id)
        await self._signals.poke_dispatcher()
        return Submitted(job_id=job_id, suffix=suffix)

    async def wake(self, family: str) -> None:
        """Tell the slots of a family that there is work. Never raises: the dispatcher repeats it.

        While Redis is away slots look by themselves: a wake-up would only be waited for, ten seconds where
        Redis hangs.
        """
        if await self._signals.poke(family) == 0:
            try:
                await asyncio.to_thread(send_wake_up, self._app, family)
            except Exception as error:  # kombu raises what its transport does
                log.warning("wake_up.not_sent", family=family, error=str(error))
