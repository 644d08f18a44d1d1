"""Webhooks: who is told, of what, and how that went."""

from datetime import datetime

from sqlalchemy import ForeignKey, Identity, Index, Integer, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import NOW, Base


class WebhookEndpoint(Base):
    """A registered receiver. Secrets sign, so they are kept as they are; until `old_secret_until` the one
    before signs too. `failing_since`: every attempt has failed since then."""

    __tablename__ = "webhook_endpoint"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    url: Mapped[str]
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    secret: Mapped[str]
    old_secret: Mapped[str | None]
    old_secret_until: Mapped[datetime | None]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    disabled_reason: Mapped[str | None]
    failing_since: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (Index(None, "project_id", "created_at", "id"),)


class WebhookEvent(Base):
    """Something that happened, as it is told: `payload` is the body, byte for byte. Outlives its job."""

    __tablename__ = "webhook_event"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    job_id: Mapped[int | None]
    type: Mapped[str]
    payload: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (Index(None, "created_at"), Index(None, "job_id"))


class Delivery(Base):
    """One event for one receiver: a registered endpoint, or the `url` that the job named.

    `receiver` is what deliveries are kept fair between: the endpoint, or the project with the URL's host.
    Leased while it is attempted, fenced by `token`. `tries` counts from its creation or last replay on. The
    last attempt's outcome is repeated here.
    """

    __tablename__ = "delivery"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    event_id: Mapped[str] = mapped_column(ForeignKey("webhook_event.id", ondelete="CASCADE"))
    endpoint_id: Mapped[str | None] = mapped_column(ForeignKey("webhook_endpoint.id", ondelete="CASCADE"))
    url: Mapped[str | None]
    receiver: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    tries: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_until: Mapped[datetime | None]
    token: Mapped[int | None]
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    latency_ms: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        Index("ix_delivery_due", "receiver", "next_at", "id", postgresql_where=text("state = 'pending'")),
        Index(None, "project_id", "id"),
        Index(None, "endpoint_id", "id"),
    )


class DeliveryAttempt(Base):
    """One attempt of a delivery and how it went; `status_code` is NULL where none came back."""

    __tablename__ = "delivery_attempt"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("delivery.id", ondelete="CASCADE"))
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    latency_ms: Mapped[int] = mapped_column(Integer)
    error: Mapped[str | None]
    attempted_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (Index(None, "delivery_id", "id"),)
