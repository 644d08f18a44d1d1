"""Where OpenVINO keeps a compiled model, so that the next start takes 0.3 s in place of 2 s.

OpenVINO writes its cache file in place. Two slots that start together, or a kill in the middle, would
leave half a file for the next start to read; hence one writer at a time and a mark once the file is whole.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from hashlib import blake2b
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

FOLDER = ".openvino"
WHOLE = "whole"


def identity(*facts: object) -> str:
    """A short name for everything that a compiled model depends on."""
    return blake2b(repr(facts).encode(), digest_size=8).hexdigest()


@contextmanager
def cache_folder(model_folder: Path, kind: str, name: str) -> Iterator[Path | None]:
    """The folder to hand to OpenVINO while it compiles (locked for so long), or None where the model's
    folder cannot be written. Older folders of the same `kind` (precision and threads) are removed."""
    root = model_folder / FOLDER
    try:
        root.mkdir(exist_ok=True)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        log.info("compiled_cache.unusable", reason=error.strerror)
        yield None
        return
    try:
        flock(lock, LOCK_EX)
        folder = root / f"{kind}-{name}"
        if not (folder / WHOLE).exists():
            _start_afresh(root, kind, folder)
        yield folder
        _mark_whole(folder)
    finally:
        os.close(lock)


def _start_afresh(root: Path, kind: str, folder: Path) -> None:
    for old in root.glob(f"{kind}-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(exist_ok=True)


def _mark_whole(folder: Path) -> None:
    """Only after the cached files have reached the disk: a mark must not outlive a lost file."""
    if (folder / WHOLE).exists():
        return
    for path in folder.iterdir():
        with path.open("rb") as written:
            os.fsync(written.fileno())
    (folder / WHOLE).touch()
