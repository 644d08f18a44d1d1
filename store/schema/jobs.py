"""Jobs, their items and parts, and what is claimed and recorded of them.

An item's first part shares the item's number n; the further parts of large items are numbered after the
job's last item, so that a chunk is a plain range of numbers, also when computing adds parts.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import NOW, Base


class Job(Base):
    """What a caller submits: one endpoint, one model, 1..n items. Also the head that claims are cut from:
    `next_part` of its `parts` have been claimed. The last `added` of them were added by computing; they are
    claimed first, so that an item that has been begun is finished, and `next_added` of them have been.

    `suffix` is the public id without its prefix; `view` says by which door it came in (job, batch, call,
    response). `ready` folds all that may hold a job back (validation, not_before, windows, pauses):
    `store/readiness.py`. `announced`: its end is a webhook event (not so for a call that is only awaited).
    `waiters` counts the callers that wait for an awaited call. `streamed`: a call's caller reads its result
    as it comes, so that it has events of its own. `fingerprint` is a digest of endpoint and body, by which a
    repeated call finds the first.
    """

    __tablename__ = "job"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    suffix: Mapped[str] = mapped_column(unique=True)
    view: Mapped[str]
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    key_id: Mapped[int] = mapped_column(ForeignKey("api_key.id"))
    endpoint: Mapped[str]
    family: Mapped[str]
    model: Mapped[str]
    cores: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    lane: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    state: Mapped[str]
    ready: Mapped[bool] = mapped_column(server_default=text("false"))
    items: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    parts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_part: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    added: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_added: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    expected_seconds: Mapped[float] = mapped_column(server_default=text("0"))
    not_before: Mapped[datetime | None]
    run_window: Mapped[str | None]  # "22:00-06:00", in `timezone`
    timezone: Mapped[str | None]
    window_open: Mapped[bool] = mapped_column(server_default=text("true"))
    deadline: Mapped[datetime | None]
    completion_window: Mapped[str | None]
    input_file_id: Mapped[str | None]
    output_file_id: Mapped[str | None]
    error_file_id: Mapped[str | None]
    output_expires_seconds: Mapped[int | None]
    meta: Mapped[dict[str, Any] | None]
    errors: Mapped[dict[str, Any] | None]
    note: Mapped[str | None]  # why it waits, in a sentence
    retry_of: Mapped[int | None] = mapped_column(ForeignKey("job.id", ondelete="SET NULL"))
    webhook_url: Mapped[str | None]
    announced: Mapped[bool] = mapped_column(server_default=text("true"))
    waiters: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    streamed: Mapped[bool] = mapped_column(server_default=text("false"))
    idempotency_key: Mapped[str | None]
    fingerprint: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finalizing_at: Mapped[datetime | None]
    cancelling_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("next_part <= parts", name="cursor"),
        Index(
            "ix_job_ready",
            "family", "lane", "key_id", text("priority DESC"), "id",
            postgresql_where=text("ready AND next_part < parts"),
        ),
        Index(
            "ix_job_ready_model",
            "family", "lane", "key_id", "model", text("priority DESC"), "id",
            postgresql_where=text("ready AND next_part < parts"),
        ),
        Index(
            "ix_job_shortest",
            "family", "key_id", text("priority DESC"), "expected_seconds", "id",
            postgresql_where=text("ready AND next_part < parts AND lane = 'interactive'"),
        ),
        Index("ix_job_open", "state", "id", postgresql_where=text("ended_at IS NULL")),
        Index("ix_job_held", "id", postgresql_where=text("state IN ('queued', 'running') AND NOT ready")),
        Index(
            "ix_job_windowed",
            "run_window", "timezone", "window_open",
            postgresql_where=text("ended_at IS NULL AND run_window IS NOT NULL"),
        ),
        Index("ix_job_retry_of", "retry_of", postgresql_where=text("retry_of IS NOT NULL")),
        Index(
            "uq_job_idempotency_key",
            "key_id", "idempotency_key",
            unique=True, postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index(
            "ix_job_in_flight",
            "key_id", "fingerprint",
            postgresql_where=text("ended_at IS NULL AND fingerprint IS NOT NULL"),
        ),
        Index(
            "ix_job_wide",
            "family", "cores",
            postgresql_where=text("ready AND next_part < parts AND cores > 1"),
        ),
        Index("ix_job_noted", "id", postgresql_where=text("note IS NOT NULL")),
        Index("ix_job_ended", "view", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index("ix_job_due", "deadline", postgresql_where=text("ended_at IS NULL AND deadline IS NOT NULL")),
        Index(None, "project_id", "id"),
    )  # fmt: skip


class JobProgress(Base):
    """Counters of a job, off its head row: recording must not wait for claims, nor they for it.

    `units` are those of recorded parts, `foreseen` what parts will count that computing added and that are
    not recorded yet.
    `rate` is parts per second over the last stretch of five seconds or more, from `marked_at` on.
    """

    __tablename__ = "job_progress"
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    done: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # parts with a result, errors too
    failed: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # of them, errors
    units: Mapped[int] = mapped_column(server_default=text("0"))
    foreseen: Mapped[int] = mapped_column(server_default=text("0"))
    cpu_ms: Mapped[int] = mapped_column(server_default=text("0"))
    rate: Mapped[float | None]
    marked_done: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    marked_at: Mapped[datetime | None]
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)


class Item(Base):
    """One request of a job, and at once its first part. `parts` counts all its parts."""

    __tablename__ = "item"
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    custom_id: Mapped[str]
    body: Mapped[bytes]
    parts: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    __table_args__ = (UniqueConstraint("job_id", "custom_id"),)


class ItemPart(Base):
    """A further part of a large item: `n` continues the job's numbers, `position` (from 1) the item's.
    `added`: computing cut it, not submitting; a retry of the item will cut it again."""

    __tablename__ = "item_part"
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    item_n: Mapped[int] = mapped_column(Integer)
    position: Mapped[int] = mapped_column(Integer)
    body: Mapped[bytes]
    added: Mapped[bool] = mapped_column(server_default=text("false"))
    __table_args__ = (Index(None, "job_id", "item_n", "position", unique=True),)


class Chunk(Base):
    """Parts `lo` ≤ n < `hi` of a job, claimed by a slot. `epoch` and `token` fence a holder whose lease was
    taken over (the token too, since a claim that a crash of Postgres forgot repeats its epoch)."""

    __tablename__ = "chunk"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    lo: Mapped[int] = mapped_column(Integer)
    hi: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(server_default=text("'running'"))
    epoch: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    token: Mapped[int]
    slot_id: Mapped[int | None]
    lease_until: Mapped[datetime]
    losses: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    claimed_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (
        Index("ix_chunk_lease", "lease_until", postgresql_where=text("state = 'running'")),
        Index(None, "job_id", "lo"),
        Index("ix_chunk_again", "job_id", "epoch", postgresql_where=text("epoch > 1")),
    )


class Result(Base):
    """A recorded part. Insert-only: that a row is here is the part's state. `data` is the encoded result
    (status 200) or error (`backends/types.py`)."""

    __tablename__ = "result"
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    status: Mapped[int] = mapped_column(SmallInteger)
    units: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    data: Mapped[bytes]
    __table_args__ = (Index("ix_result_errors", "job_id", "n", postgresql_where=text("status <> 200")),)


class Strike(Base):
    """A part that was in flight when its engine crashed or hung. Two strikes fail it."""

    __tablename__ = "strike"
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    count: Mapped[int] = mapped_column(SmallInteger)
    reason: Mapped[str]
    struck_at: Mapped[datetime] = mapped_column(server_default=NOW)
