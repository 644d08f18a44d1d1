"""Slots and models: who computes, how fast, and whose turn it is."""

from datetime import datetime

from sqlalchemy import ForeignKey, Identity, Integer, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import NOW, Base


class Share(Base):
    """Fair share between API keys: seconds of compute already charged, over the key's weight."""

    __tablename__ = "share"
    family: Mapped[str] = mapped_column(primary_key=True)
    lane: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_key.id"), primary_key=True)
    vtime: Mapped[float] = mapped_column(server_default=text("0"))


class ModelPause(Base):
    """A model that is held back, and why, in a sentence.

    At `probe_at` one of its jobs, `trial_job_id`, may be claimed from, once: a part that passes lifts the
    pause. `probes` counts the trials, each later than the one before.
    """

    __tablename__ = "model_pause"
    model: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    paused_at: Mapped[datetime] = mapped_column(server_default=NOW)
    probe_at: Mapped[datetime | None]
    probes: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    trial_job_id: Mapped[int | None]


class ModelPace(Base):
    """How fast a model is, as the slot that computed last with it measured: seconds per part."""

    __tablename__ = "model_pace"
    model: Mapped[str] = mapped_column(primary_key=True)
    seconds: Mapped[float]
    measured_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Slot(Base):
    """A Celery worker process that is alive while its lease holds. What it does is as of its last renewal:
    `working_on` names an item in flight (`job_…:number`), `rate` counts parts per second."""

    __tablename__ = "slot"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    boot_id: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int] = mapped_column(Integer)
    families: Mapped[list[str]] = mapped_column(ARRAY(Text))
    model: Mapped[str | None]
    runtime: Mapped[str | None]
    loaded: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    working_on: Mapped[str | None]
    rate: Mapped[float | None]
    memory_mb: Mapped[int | None] = mapped_column(Integer)
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_until: Mapped[datetime]


class SlotCore(Base):
    """One core of a host (known by its boot id, which containers share) and the slot that owns it."""

    __tablename__ = "slot_core"
    boot_id: Mapped[str] = mapped_column(primary_key=True)
    core: Mapped[int] = mapped_column(Integer, primary_key=True)
    slot_id: Mapped[int] = mapped_column(ForeignKey("slot.id", ondelete="CASCADE"))
