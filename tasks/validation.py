"""Reading input files: a job that is validating gets its items, or fails with the lines that are wrong."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import structlog

from backends.embeddings import check_input_count, cut_request
from backends.errors import InvalidBody
from backends.registry import family_of
from configs.models import ModelSpec
from configs.settings import Settings
from configs.spec_files import Catalogue
from store import files, lifecycle
from store.blobs import Blobs
from store.errors import DatabaseUnavailable
from store.ingest import Split, ingest
from store.jobs import JobRow
from store.lines import LineError, LineRules
from store.states import JobState
from tasks.signals import Answered, Signals
from tasks.streams import EventWriter

log = structlog.get_logger(__name__)


class _Refused(Exception):
    """The file is undone: for these reasons, or without one since its job was cancelled meanwhile."""

    def __init__(self, *errors: LineError) -> None:
        super().__init__()
        self.errors = errors


class Validator:
    """Turns files into items, one file at a turn. `queued` is called when there is work for slots."""

    def __init__(
        self,
        settings: Settings,
        signals: Signals,
        blobs: Blobs,
        catalogue: Catalogue,
        *,
        queued: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._signals, self._blobs, self._catalogue = settings, signals, blobs, catalogue
        self._queued = queued
        self._events = EventWriter(signals)

    def step(self, conn: psycopg.Connection) -> bool:
        """Read the oldest file that waits; True if there was one. Raises DatabaseUnavailable.

        A crash in between leaves the job validating, and its file is read again from the start.
        """
        job = lifecycle.next_validating(conn)
        if job is None:
            return False
        try:
            path = self._path(conn, job)
            with conn.transaction():
                self._store(conn, job, path)
            self._queued()
            self._events.state(job.id, JobState.QUEUED)
        except _Refused as refused:
            if refused.errors:
                self._reject(conn, job, refused.errors)
        except DatabaseUnavailable:
            raise
        except Exception:  # it must not hold up the files behind it
            log.exception("job.not_read", job=job.suffix)
            self._reject(conn, job, (LineError("server_error", None, "The input file could not be read."),))
        return True

    def _path(self, conn: psycopg.Connection, job: JobRow) -> Path:
        file = files.load(conn, job.input_file_id) if job.input_file_id else None
        if file is None or file.blob is None or not self._blobs.path(file.blob).is_file():
            raise _Refused(LineError("file_not_found", None, "The input file has been deleted."))
        return self._blobs.path(file.blob)

    def _store(self, conn: psycopg.Connection, job: JobRow, path: Path) -> None:
        """Store the items and queue the job."""
        self._catalogue.refresh()
        split = splitter(
            job.endpoint,
            self._settings.part_inputs,
            default_model=job.model or None,
            max_inputs_of=self._max_inputs_of,
        )
        read = ingest(conn, job.id, path, self._rules(job), split=split)
        if read.errors:
            raise _Refused(*read.errors)
        spec = self._spec(read.model, job.endpoint)
        if not lifecycle.validated(
            conn, job.id, read.items, read.parts, model=spec.name, family=spec.family, cores=spec.cores
        ):
            raise _Refused
        log.info("job.validated", job=job.suffix, items=read.items, parts=read.parts, model=spec.name)

    def _spec(self, model: str, endpoint: str) -> ModelSpec:
        spec = self._catalogue.find(model)
        if spec is None:
            message = f"The model '{model[:80]}' does not exist; see GET /v1/models."
            raise _Refused(LineError("model_not_found", 1, message, "body.model"))
        if endpoint not in family_of(spec.family).endpoints:
            message = f"The model '{spec.name}' does not serve {endpoint}."
            raise _Refused(LineError("endpoint_not_supported", 1, message, "endpoint"))
        return spec

    def _rules(self, job: JobRow) -> LineRules:
        settings, batch = self._settings, job.view == "batch"
        return LineRules(
            endpoint=job.endpoint,
            max_items=settings.max_batch_lines if batch else settings.max_job_items,
            max_line_bytes=settings.max_line_bytes,
            max_bytes=settings.max_batch_bytes if batch else None,
            default_model=job.model or None,
            strict=batch,
            model_of=self._model_of,
        )

    def _model_of(self, name: str) -> str:
        spec = self._catalogue.find(name)
        return name if spec is None else spec.name

    def _max_inputs_of(self, name: str) -> int | None:
        spec = self._catalogue.find(name)
        return None if spec is None else spec.limits.max_inputs

    def _reject(self, conn: psycopg.Connection, job: JobRow, errors: tuple[LineError, ...]) -> None:
        log.info("job.rejected", job=job.suffix, errors=len(errors), first=errors[0].message)
        lifecycle.reject(conn, job.id, [error._asdict() for error in errors])
        self._signals.answered(Answered(job.id))
        self._events.state(job.id, JobState.FAILED)


def splitter(
    endpoint: str,
    part_inputs: int,
    *,
    default_model: str | None = None,
    max_inputs_of: Callable[[str], int | None] = lambda model: None,
) -> Split | None:
    """How bodies for `endpoint` are cut into parts; None: they are not.

    `default_model` is that of lines that name none, `max_inputs_of` how many inputs a request to a model
    may have.
    """
    if endpoint != "/v1/embeddings":
        return None

    def split(body: bytes) -> list[bytes]:
        # A list of more than n inputs has at least n commas; counting them is cheap, parsing is not.
        if body.count(b",") < part_inputs:
            return [body]
        try:
            request, bodies = cut_request(body, part_inputs, default_model=default_model)
            check_input_count(len(request.inputs), max_inputs_of(request.model))
        except InvalidBody:
            return [body]  # the item's own error, once it is computed
        return bodies

    return split
