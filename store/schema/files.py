"""Files and uploads."""

from datetime import datetime

from sqlalchemy import ForeignKey, Identity, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import NOW, Base


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
        Index(None, "project_id", "sha256", postgresql_where=text("sha256 IS NOT NULL")),
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


class Attachment(Base):
    """Bytes that an item is about and that nobody uploaded as a file: the form of a single call, or what a
    slot has `fetched` from a URL. Kept as long as the job may need them; without a job, for a moment. Jobs
    that repeat another share its blobs."""

    __tablename__ = "attachment"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id", ondelete="SET NULL"))
    item_n: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    blob: Mapped[str]
    name: Mapped[str]
    size_bytes: Mapped[int]
    fetched: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    __table_args__ = (Index(None, "job_id", "item_n"), Index(None, "blob"))
