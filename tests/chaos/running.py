"""The whole service as its user runs it, `batchyard up`, and its processes as victims."""

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.fixtures.up import COMMAND, end, wait_for_ready_line

# What each child of `up` is called, or has in its command line.
PROCESSES = {
    "slot": "worker",
    "api": "api",
    "dispatcher": "dispatch",
    "deliverer": "deliver",
    "redis": "redis-server",
    "postgres": "postgres",
}


class Running:
    """`up` on a home, on one port for all its starts. `command` is what starts it; `settings`: without
    BATCHYARD_."""

    def __init__(self, home: Path, *, command: Sequence[str] = COMMAND, **settings: str) -> None:
        self.home = home
        self.log_file = home.with_name(home.name + ".up.log")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_url = self.redis_url = ""
        self._command, self._settings = command, settings
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start, and return once calls are answered."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("BATCHYARD_")}
        env |= {f"BATCHYARD_{name.upper()}": value for name, value in self._settings.items()}
        command = (*self._command, "--home", str(self.home), "--port", str(self.port))
        with self.log_file.open("a") as log:
            self._process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        if not wait_for_ready_line(self._process):
            raise RuntimeError(f"up did not start; its log is {self.log_file}")
        environment = psutil.Process(self.pids("api")[0]).environ()
        self.database_url = environment["BATCHYARD_DATABASE_URL"]
        self.redis_url = environment["BATCHYARD_REDIS_URL"]

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        if self._process is not None:
            end(self._process)
            self._forget()

    def kill(self) -> None:
        """End `up` without a word; the kernel ends its children. Returns once all are gone."""
        assert self._process is not None
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        self._forget()
        psutil.wait_procs(family, timeout=30)

    def _forget(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def pids(self, kind: str) -> list[int]:
        """The children of `up` of a kind of `PROCESSES`."""
        assert self._process is not None
        found = []
        for child in psutil.Process(self._process.pid).children():
            with suppress(psutil.Error):
                if PROCESSES[kind] in (child.name(), *child.cmdline()):
                    found.append(child.pid)
        return found

    def engines(self) -> list[int]:
        """The engines of all slots."""
        found = []
        for slot in self.pids("slot"):
            with suppress(psutil.Error):
                found += [child.pid for child in psutil.Process(slot).children()]
        return found

    def send(self, pid: int, number: signal.Signals) -> None:
        """A victim may have gone by itself meanwhile."""
        with suppress(ProcessLookupError):
            os.kill(pid, number)
