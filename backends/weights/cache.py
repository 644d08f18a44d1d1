"""Where a model's files lie on this machine, which of them are there, and whether they are right.

A model has a folder of its own under `Settings.models`. Beside its files lies a record of what each was
fetched from and its digest, so that looking costs a stat per file and not a hash of gigabytes.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

import msgspec

from backends.errors import LoadFailed
from backends.registry import family_of, runtimes_of
from configs.models import ModelFile, ModelSpec
from configs.settings import Settings
from configs.spec_rules import can_serve

RECORD_NAME = ".batchyard.json"


class Fetched(msgspec.Struct, frozen=True):
    """One file as it was when it was fetched. `modified_ns` is kept for linked files only: those are not
    ours and may be changed by their owner."""

    source: str
    sha256: str
    size_bytes: int
    modified_ns: int | None = None


class FileState(NamedTuple):
    """What `verify` found: `damaged` differs from its digest, `outdated` was fetched for another spec."""

    path: str
    state: Literal["ok", "missing", "damaged", "outdated"]
    size_bytes: int


def model_folder(settings: Settings, spec: ModelSpec) -> Path:
    """The folder of the model's files. A '/' of the name is escaped, so that no model lies inside another."""
    return settings.models / quote(spec.name, safe="")


def runnable_runtimes(spec: ModelSpec) -> list[str]:
    """The runtimes that can compute this model here, best first: installed, and with files in the spec.

    Empty when there is none. Raises `LoadFailed` when the family or the named runtime does not exist.
    """
    runtimes = family_of(spec.family).runtimes
    return [name for name in served_runtimes(spec) if runtimes[name].installed]


def served_runtimes(spec: ModelSpec) -> list[str]:
    """The runtimes whose weights the spec names, best first, installed or not. Raises as above."""
    return [name for name in runtimes_of(spec.family, spec.runtime) if can_serve(spec, name)]


def best_runtime(spec: ModelSpec) -> str:
    """The first of `runnable_runtimes`. Raises `LoadFailed` (binding_missing) that says what to install."""
    if found := runnable_runtimes(spec):
        return found[0]
    runtimes = family_of(spec.family).runtimes
    ways = [f"'{name}' with: {runtimes[name].extra}" for name in served_runtimes(spec)]
    if not ways:
        raise LoadFailed(
            f"model '{spec.name}' names no weights for any runtime of family '{spec.family}'",
            code="model_load_failed",
        )
    raise LoadFailed(
        f"no runtime of model '{spec.name}' is installed; install {' or '.join(ways)}", code="binding_missing"
    )


def missing_files(spec: ModelSpec, folder: Path, runtime: str) -> list[ModelFile]:
    """The files that `runtime` needs and that are not there as the spec wants them, in order of the spec."""
    record = read_record(folder)
    return [file for file in spec.files_for(runtime) if not is_there(file, folder, record)]


def is_there(file: ModelFile, folder: Path, record: dict[str, Fetched]) -> bool:
    """Whether a file is there, of the size and from the source that the record and the spec agree on."""
    known = record.get(file.path)
    if known is None or known.source != file.source or file.sha256 not in (None, known.sha256):
        return False
    try:
        stat = (folder / file.path).stat()
    except OSError:
        return False
    return stat.st_size == known.size_bytes and known.modified_ns in (None, stat.st_mtime_ns)


def verify(
    spec: ModelSpec,
    folder: Path,
    runtimes: Iterable[str],
    *,
    report: Callable[[str, int, int], None] = lambda path, done, total: None,
) -> list[FileState]:
    """Hash every file that one of `runtimes` needs and compare. Reads all bytes: about 1 GB/s."""
    record = read_record(folder)
    wanted = {file.path: file for runtime in runtimes for file in spec.files_for(runtime)}
    return [_state_of(file, folder, record.get(file.path), report) for file in wanted.values()]


def _state_of(
    file: ModelFile, folder: Path, known: Fetched | None, report: Callable[[str, int, int], None]
) -> FileState:
    path = folder / file.path
    if not path.is_file():
        return FileState(file.path, "missing", 0)
    size = path.stat().st_size
    digest = sha256_of(path, report=lambda done, total: report(file.path, done, total))
    expected = file.sha256 or (known.sha256 if known else None)
    if digest != expected:
        changed = known is not None and digest == known.sha256
        return FileState(file.path, "outdated" if changed else "damaged", size)
    if known is None or known.source != file.source:
        return FileState(file.path, "outdated", size)
    return FileState(file.path, "ok", size)


def sha256_of(path: Path, *, report: Callable[[int, int], None] = lambda done, total: None) -> str:
    """The SHA-256 of a file in hexadecimal; `report(done, total)` in bytes, every 8 MiB."""
    digest = hashlib.sha256()
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(8 * 1024**2):
            digest.update(block)
            done += len(block)
            report(done, total)
    return digest.hexdigest()


def read_record(folder: Path) -> dict[str, Fetched]:
    """What was fetched into `folder`, by path. A missing or broken record is an empty one: the next pull
    hashes what is there and writes it anew."""
    try:
        return msgspec.json.decode((folder / RECORD_NAME).read_bytes(), type=dict[str, Fetched])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def write_record(folder: Path, record: dict[str, Fetched]) -> None:
    """Replace the record as a whole, so that a crash leaves the old one or the new one."""
    draft = folder / f"{RECORD_NAME}.new"
    with draft.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(record)))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / RECORD_NAME)
