"""Fetching a model's files: what is missing, one file after the other, checked and put in place whole.

A file appears in the model's folder only when it is complete and its digest is right. A pull that is
interrupted goes on where it stopped, as far as the source can (`backends/weights/sources.py`).
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import structlog

from backends.weights.cache import Fetched, is_there, model_folder, read_record, sha256_of, write_record
from backends.weights.locking import locked
from backends.weights.sources import Errand, PullFailed, discard_leftovers, fetch
from configs.models import ModelFile, ModelSpec
from configs.settings import Settings
from configs.spec_rules import can_serve

log = structlog.get_logger(__name__)

INCOMING = ".incoming"  # inside the model's folder, so that the last step is a rename on one file system


@dataclass(frozen=True, kw_only=True)
class PullProgress:
    """How far a pull has come. `phase` says what is done with the file at `path` ("downloading", "copying",
    "importing", "verifying"), or is "waiting" (another process pulls) or "done". Bytes; the total is None
    where the source does not say."""

    model: str
    path: str
    phase: str
    done_bytes: int = 0
    total_bytes: int | None = None


ProgressSink = Callable[[PullProgress], None]


def pull(
    spec: ModelSpec,
    settings: Settings,
    *,
    runtimes: Sequence[str],
    progress: ProgressSink = lambda progress: None,
) -> Path:
    """Fetch what `runtimes` need and the model's folder lacks; returns the folder.

    Costs a few stats when everything is there. Several processes may pull the same model: one works, the
    others wait. Raises `PullFailed` (code model_not_ready) with what to do about it, also for a runtime
    that the spec has no weights for.
    """
    for runtime in runtimes:
        if not can_serve(spec, runtime):
            raise PullFailed(f"model '{spec.name}': its spec names no weights for runtime '{runtime}'")
    folder = model_folder(settings, spec)
    wanted = [file for file in spec.files if not file.runtimes or set(file.runtimes) & set(runtimes)]
    record = read_record(folder)
    if all(is_there(file, folder, record) for file in wanted):
        return folder
    waiting = PullProgress(model=spec.name, path="", phase="waiting")
    try:
        with locked(folder, on_wait=lambda: progress(waiting)):
            folder.mkdir(exist_ok=True)
            for file in wanted:
                if not is_there(file, folder, read_record(folder)):
                    _obtain(file, spec, folder, settings, progress)
            shutil.rmtree(folder / INCOMING, ignore_errors=True)
            discard_leftovers(wanted, settings)
    except OSError as error:
        raise PullFailed(
            f"model '{spec.name}': {error.strerror or error} in the models folder; "
            "see that it can be written, or set BATCHYARD_MODELS to another",
            detail=str(error.filename or folder),
        ) from error
    progress(PullProgress(model=spec.name, path="", phase="done"))
    return folder


def remove(spec: ModelSpec, settings: Settings) -> int:
    """Delete the model's folder; files that a spec links to (`file:`) stay. Returns the bytes freed."""
    folder = model_folder(settings, spec)
    if not folder.is_dir():
        return 0
    with locked(folder):
        freed = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
        shutil.rmtree(folder)
    log.info("model.removed", model=spec.name, bytes=freed)
    return freed


def _obtain(
    file: ModelFile, spec: ModelSpec, folder: Path, settings: Settings, progress: ProgressSink
) -> None:
    """Fetch one file into the folder and record it."""

    def report(phase: str, done: int, total: int | None) -> None:
        progress(
            PullProgress(model=spec.name, path=file.path, phase=phase, done_bytes=done, total_bytes=total)
        )

    if _adopt(file, folder, report):
        return
    incoming = folder / INCOMING / quote(file.path, safe="")
    incoming.parent.mkdir(exist_ok=True)
    errand = Errand(file=file, model=spec.name, folder=folder, settings=settings, report=report)
    try:
        digest = _fetch_checked(errand, incoming)
    except PullFailed as error:
        log.warning("model.pull_failed", model=spec.name, file=file.path, detail=error.detail)
        raise
    _put_in_place(file, folder, incoming, digest)
    log.info("model.file_pulled", model=spec.name, file=file.path, sha256=digest)


def _fetch_checked(errand: Errand, incoming: Path) -> str:
    """Fetch, then compare the digest. A mismatch after a resumed download gets one fresh try: the two
    halves may come from two versions of the file."""
    file = errand.file
    for _ in range(2):
        resumed = fetch(errand, incoming)
        digest = sha256_of(incoming, report=lambda done, total: errand.report("verifying", done, total))
        if file.sha256 in (None, digest):
            return digest
        incoming.unlink()
        if not resumed:
            break
    raise errand.failed(
        f"its SHA-256 is {digest}, and the spec says {file.sha256}; the file at the source is not the one "
        "that the spec names"
    )


def _adopt(file: ModelFile, folder: Path, report: Callable[[str, int, int | None], None]) -> bool:
    """Take a file that lies there already (restored, copied by hand, its record lost) if its digest is
    the one that the spec, or else the record, gives for this source."""
    path = folder / file.path
    known = read_record(folder).get(file.path)
    expected = file.sha256 or (known.sha256 if known and known.source == file.source else None)
    if expected is None or not path.is_file():
        return False
    if sha256_of(path, report=lambda done, total: report("verifying", done, total)) != expected:
        return False
    _record(file, folder, expected)
    return True


def _put_in_place(file: ModelFile, folder: Path, incoming: Path, digest: str) -> None:
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not incoming.is_symlink():
        with incoming.open("rb") as data:
            os.fsync(data.fileno())
    incoming.replace(target)
    _record(file, folder, digest)


def _record(file: ModelFile, folder: Path, digest: str) -> None:
    record = read_record(folder)
    known = record.get(file.path)
    if known is not None and known.sha256 != digest and not file.source.startswith("import:"):
        # what was made from the old file is not what the new one would give
        record = {path: entry for path, entry in record.items() if not entry.source.startswith("import:")}
    target = folder / file.path
    stat = target.stat()
    modified_ns = stat.st_mtime_ns if target.is_symlink() else None
    entry = Fetched(source=file.source, sha256=digest, size_bytes=stat.st_size, modified_ns=modified_ns)
    write_record(folder, record | {file.path: entry})
