"""Who submits, and what that used."""

from datetime import date, datetime

from sqlalchemy import ForeignKey, Identity, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import NOW, Base

# Spelled as Postgres gives it back, so that autogenerate finds nothing.
NEW_KEY_ID = "('key_'::text || replace((gen_random_uuid())::text, '-'::text, ''::text))"


class Project(Base):
    """Whose work it is. Everything is filtered by project; the first one is `default`.

    `webhook_secret` signs the deliveries to a job's own `webhook_url`; made when first needed. Until
    `old_secret_until` the one before it signs too.
    """

    __tablename__ = "project"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    webhook_secret: Mapped[str | None]
    old_secret: Mapped[str | None]
    old_secret_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ApiKey(Base):
    """Who submits. Only a SHA-256 of the secret is kept, and its last four characters as a `hint`; the first
    key is `anonymous` (loopback), which has no secret. A limit that is NULL is none."""

    __tablename__ = "api_key"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    public_id: Mapped[str] = mapped_column(
        unique=True,
        server_default=text(NEW_KEY_ID),
    )
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    hash: Mapped[bytes | None] = mapped_column(unique=True)
    hint: Mapped[str | None]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{submit,read,admin}'"))
    priority_cap: Mapped[int] = mapped_column(SmallInteger, server_default=text("100"))
    weight: Mapped[float] = mapped_column(server_default=text("1"))
    requests_per_minute: Mapped[int | None] = mapped_column(Integer)
    max_queued_items: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    revoked_at: Mapped[datetime | None]


class Usage(Base):
    """What jobs used that have been deleted, by key and day (UTC) of their submission: `store/usage.py`."""

    __tablename__ = "usage"
    key_id: Mapped[int] = mapped_column(ForeignKey("api_key.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    endpoint: Mapped[str] = mapped_column(primary_key=True)
    items: Mapped[int]
    errors: Mapped[int]
    units: Mapped[int]
    cpu_ms: Mapped[int]
