"""The embedded Postgres: one cluster under the home, on a unix socket, without TCP."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
import structlog

from store.embedded.account import Account, run_as
from store.embedded.binaries import POSTGRES_MAJOR, Binaries
from store.embedded.errors import HomeRefused
from store.embedded.service import ENVIRONMENT, Service

log = structlog.get_logger(__name__)

SUPERUSER = DATABASE = "batchyard"
PORT = 5432  # only part of the socket's name
# What a restart meets while processes of a killed server still hold its memory; it passes.
LEFTOVERS = ("pre-existing shared memory block", "lock file")
LEFTOVER_SECONDS = 30.0
STATUS_LINE = 7  # of postmaster.pid, counted from 0: LOCK_FILE_LINE_PM_STATUS of Postgres' pidfile.h
MEGABYTE = 1024**2


class Postgres(Service):
    """A cluster in the folder `data`, with its socket in `sockets`.

    `durable=False` is for tests: what is committed survives a kill, not a power loss.
    """

    name = "Postgres"
    start_seconds = 300.0  # a crash recovery on a slow disk
    # Fast shutdown: sessions are ended, the cluster is left clean. Then the immediate one.
    stop_steps = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))
    death_signal = signal.SIGQUIT  # immediate shutdown, its own processes included; the next start recovers

    def __init__(
        self, binaries: Binaries, data: Path, sockets: Path, log_file: Path, account: Account | None,
        *, durable: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(log_file, account)
        self._binaries = binaries
        self._data = data
        self._sockets = sockets
        self._durable = durable

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The libpq URL of one of its databases."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self._sockets), safe='')}&port={PORT}"

    def start(self) -> None:
        if not self._data.exists():
            self._initialise()
        self._check_version()
        deadline = time.monotonic() + LEFTOVER_SECONDS
        pause = 0.1
        while True:
            self._clear_leftovers()
            self._spawn(self._command(), cwd=self._data.parent)
            if self._wait():
                break
            if time.monotonic() > deadline or not any(text in self._log_tail(3) for text in LEFTOVERS):
                raise self._failure("has ended while starting")
            time.sleep(pause)
            pause = min(2 * pause, 2.0)
        self._make_database()

    def _initialise(self) -> None:
        """Make the cluster beside its place, then move it: a half one must never be taken for whole."""
        log.info("postgres.initialising", folder=str(self._data))
        half = self._data.with_name(self._data.name + ".new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(0o700)
        if self.account:
            os.chown(half, self.account.uid, self.account.gid)
        command = [
            str(self._binaries.initdb), "--pgdata", str(half), "--username", SUPERUSER, "--auth", "trust",
            "--encoding", "UTF8", "--no-locale", "--no-instructions",
            *([] if self._durable else ["--no-sync", "--wal-segsize", "1"]),
        ]  # fmt: skip
        ran = subprocess.run(
            command,
            cwd=self._data.parent,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            **run_as(self.account),
        )
        if ran.returncode != 0:
            self._log_file.write_text(ran.stdout + ran.stderr)
            raise self._failure("cannot make its data folder")
        half.rename(self._data)

    def _check_version(self) -> None:
        version = (self._data / "PG_VERSION").read_text().strip()
        if version != str(POSTGRES_MAJOR):
            raise HomeRefused(
                f"{self._data} was made by Postgres {version}, this is {POSTGRES_MAJOR}: name another home, "
                "or dump it with the release that made it and load it into this one"
            )

    def _clear_leftovers(self) -> None:
        """Deal with the pid file of an earlier server: end that server if it lives on, remove the file.

        Postgres removes the file itself, unless the number belongs to a new process by now. The lock on the
        home says that no other launcher is at work here.
        """
        pid = "".join(self._pid_file_lines()[:1])
        try:
            process = psutil.Process(int(pid))
            if Path(process.cwd()) == self._data:  # a server makes its data folder its working folder
                process.send_signal(signal.SIGQUIT)
                process.wait(LEFTOVER_SECONDS)
        except psutil.TimeoutExpired:
            raise self._failure(f"of an earlier run (process {pid}) does not end") from None
        except (ValueError, OverflowError, psutil.Error):  # no number, gone, or not ours to look at
            pass
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _answers(self) -> bool:
        """By its pid file, as pg_ctl does: trying connections would fill the log with refusals."""
        lines = self._pid_file_lines()
        return (
            len(lines) > STATUS_LINE and lines[0] == str(self.pid) and lines[STATUS_LINE].strip() == "ready"
        )

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "port": str(PORT),
            # A list of folders: quoted, since a comma would end one.
            "unix_socket_directories": '"' + str(self._sockets).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "shared_buffers": f"{_shared_buffers_mb()}MB",
            "max_connections": "200",
            "max_wal_size": "2GB",
            "checkpoint_timeout": "15min",
            "jit": "off",  # our statements are short: compiling them costs more than running them
            "log_timezone": "UTC",
            "timezone": "UTC",
            "log_line_prefix": "%m [%p] %a ",
        }
        if not self._durable:
            settings |= {
                "fsync": "off",
                "full_page_writes": "off",
                "shared_buffers": "64MB",
                "io_method": "sync",
            }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._binaries.postgres), "-D", str(self._data), *options]

    def _make_database(self) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not found:
                connection.execute(f"CREATE DATABASE {DATABASE}")


def _shared_buffers_mb() -> int:
    """A sixteenth of the memory within 128 MB to 1 GB: results are written once and read once, in order."""
    return min(1024, max(128, psutil.virtual_memory().total // 16 // MEGABYTE))
