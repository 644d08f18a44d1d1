"""A running service for the benchmarks, and the CPU time of all its processes."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.candidates import ROOT

START_SECONDS = 120
PARTS = ("api", "dispatch", "worker", "deliver")  # children of `up`
SPECS = "name: echo-384\nfamily: echo\noptions: {dimensions: 384}\n"


@dataclass(frozen=True)
class Service:
    """A service that answers at `url`, the root of its processes, and how long it took to be ready."""

    url: str
    pid: int
    start_seconds: float

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far by kind of process, Postgres and Redis included."""
        totals: dict[str, float] = {}
        for process in self._processes():
            try:
                times, name = process.cpu_times(), kind(process.cmdline())
            except psutil.NoSuchProcess:
                continue
            totals[name] = totals.get(name, 0.0) + times.user + times.system
        return totals

    def engines(self) -> list[int]:
        """The processes of engines."""
        found = []
        for process in self._processes():
            try:
                if kind(process.cmdline()) == "engine":
                    found.append(process.pid)
            except psutil.NoSuchProcess:
                continue
        return found

    def _processes(self) -> list[psutil.Process]:
        return [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]


def kind(command: list[str]) -> str:
    text = " ".join(command)
    names = ("engine_child", "postgres", "redis-server", *(f"main {name}" for name in PARTS))
    for name in names:
        if name in text:
            return name.removeprefix("main ").removesuffix("_child")
    return "up"


@contextmanager
def running(
    home: Path, models: Path, *, slots: str, model: str = "all-minilm-l6-v2", port: int = 18765
) -> Iterator[Service]:
    """Start `batchyard up` on `home` with `model` of the folder `models` at hand, and end it afterwards."""
    (home / "specs").mkdir(parents=True, exist_ok=True)
    (home / "specs" / "echo-384.yaml").write_text(SPECS)
    options = ["--home", str(home), "--port", str(port), "--slots", slots, "--models", model]
    log = (home.parent / "up.log").open("a")
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cli.main", "up", *options],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home.parent), "BATCHYARD_MODELS": str(models)},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("ready "):
            raise RuntimeError(f"the service did not start; its log is {log.name}")
        yield Service(line.split()[1], process.pid, time.perf_counter() - begun)
    finally:
        process.terminate()
        process.wait(timeout=60)


def fresh_home(cache: Path) -> Path:
    """A home that nothing has run in. Under /var/tmp: as root, Postgres runs as an account that must pass."""
    home = Path("/var/tmp") / f"batchyard-bench-{cache.stat().st_ino}" / "home"
    shutil.rmtree(home.parent, ignore_errors=True)
    home.mkdir(parents=True)
    home.parent.chmod(0o711)
    return home
