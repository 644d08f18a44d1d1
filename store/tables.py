"""The tables. Postgres is the only truth; this file and `migrations/` must agree (a test compares them).

Statements are written as SQL text in the files of this folder, one file per noun: the hot ones (claim,
record, ingest) measured three times faster through psycopg directly than through the ORM.

An item's first part shares the item's number n; the further parts of large items are numbered after the
job's last item, so that a chunk is a plain range of numbers, also when computing adds parts.
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSON
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        bytes: LargeBinary,
        float: DOUBLE_PRECISION,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSON,
    }


NOW = text("now()")


class Project(Base):
    """Whose work it is. Everything is filtered by project; the first one is `default`."""

    __tablename__ = "project"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ApiKey(Base):
    """Who submits. Only a SHA-256 of the secret is kept; the first key is `anonymous` (loopback)."""

    __tablename__ = "api_key"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    hash: Mapped[bytes | None] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{submit,read,admin}'"))
    priority_cap: Mapped[int] = mapped_column(SmallInteger, server_default=text("100"))
    weight: Mapped[float] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    revoked_at: Mapped[datetime | None]


class File(Base):
    """An uploaded file, whose bytes are a blob, or the output of a job, rendered on read (`job_id`)."""

    __tablename__ = "file"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    purpose: Mapped[str]
    filename: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str | None]
    blob: Mapped[str | None]
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None]
    __table_args__ = (
        Index(None, "project_id", "created_at", "id"),
        Index(None, "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
        Index(None, "job_id", postgresql_where=text("job_id IS NOT NULL")),
    )


class Upload(Base):
    """A large file that arrives in parts (OpenAI's uploads). Ends as a file, or not at all."""

    __tablename__ = "upload"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    purpose: Mapped[str]
    filename: Mapped[str]
    mime_type: Mapped[str]
    size_bytes: Mapped[int]
    state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    file_id: Mapped[str | None]
    file_expires_seconds: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime]


class UploadPart(Base):
    """One part of an upload, a blob until the upload is completed."""

    __tablename__ = "upload_part"
    id: Mapped[str] = mapped_column(primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("upload.id", ondelete="CASCADE"))
    blob: Mapped[str]
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (Index(None, "upload_id"),)


class Job(Base):
    """What a caller submits: one endpoint, one model, 1..n items. Also the head that claims are cut from:
    parts below `next_part` have been claimed, those from there to `parts` have not.

    `suffix` is the public id without its prefix; `view` says by which door it came in (job, batch, call).
    `ready` folds all that may hold a job back (validation, not_before, windows, pauses).
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
    not_before: Mapped[datetime | None]
    deadline: Mapped[datetime | None]
    completion_window: Mapped[str | None]
    input_file_id: Mapped[str | None]
    output_file_id: Mapped[str | None]
    error_file_id: Mapped[str | None]
    output_expires_seconds: Mapped[int | None]
    meta: Mapped[dict[str, Any] | None]
    errors: Mapped[dict[str, Any] | None]
    note: Mapped[str | None]  # why it waits, in a sentence
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
        Index("ix_job_open", "state", "id", postgresql_where=text("ended_at IS NULL")),
        Index("ix_job_held", "id", postgresql_where=text("state = 'queued' AND NOT ready")),
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
    """Counters of a job, off its head row: recording must not wait for claims, nor they for it."""

    __tablename__ = "job_progress"
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    done: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # parts with a result, errors too
    failed: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # of them, errors
    units: Mapped[int] = mapped_column(server_default=text("0"))
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
    """A further part of a large item: `n` continues the job's numbers, `position` (from 1) the item's."""

    __tablename__ = "item_part"
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    item_n: Mapped[int] = mapped_column(Integer)
    position: Mapped[int] = mapped_column(Integer)
    body: Mapped[bytes]
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
        Index(None, "job_id"),
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


class Strike(Base):
    """A part that was in flight when its engine crashed or hung. Two strikes fail it."""

    __tablename__ = "strike"
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    count: Mapped[int] = mapped_column(SmallInteger)
    reason: Mapped[str]
    struck_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Share(Base):
    """Fair share between API keys: seconds of compute already charged, over the key's weight."""

    __tablename__ = "share"
    family: Mapped[str] = mapped_column(primary_key=True)
    lane: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_key.id"), primary_key=True)
    vtime: Mapped[float] = mapped_column(server_default=text("0"))


class ModelPause(Base):
    """A model that is held back, and why, in a sentence."""

    __tablename__ = "model_pause"
    model: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    paused_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Slot(Base):
    """A Celery worker process that is alive while its lease holds."""

    __tablename__ = "slot"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    boot_id: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int] = mapped_column(Integer)
    families: Mapped[list[str]] = mapped_column(ARRAY(Text))
    model: Mapped[str | None]
    runtime: Mapped[str | None]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_until: Mapped[datetime]


class SlotCore(Base):
    """One core of a host (known by its boot id, which containers share) and the slot that owns it."""

    __tablename__ = "slot_core"
    boot_id: Mapped[str] = mapped_column(primary_key=True)
    core: Mapped[int] = mapped_column(Integer, primary_key=True)
    slot_id: Mapped[int] = mapped_column(ForeignKey("slot.id", ondelete="CASCADE"))
