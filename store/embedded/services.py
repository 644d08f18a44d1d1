"""Postgres and Redis as children of this process, under one home folder."""

from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import structlog

from store.embedded.account import Account, service_account
from store.embedded.binaries import find_binaries
from store.embedded.home import HomeLock, make_home, own_folder, socket_folder
from store.embedded.postgres import Postgres
from store.embedded.redis import Redis
from store.embedded.service import Service

log = structlog.get_logger(__name__)


class Urls(NamedTuple):
    """Where the two answer, in the form of the settings."""

    database_url: str
    redis_url: str


class EmbeddedServices:
    """Holds a home, and runs in it what no URL replaces.

    Use it from the main thread: the servers end with the thread that started them (`child.py`).
    `durable=False` is for tests (`Postgres`).
    """

    def __init__(
        self,
        home: Path,
        *,
        database_url: str | None = None,
        redis_url: str | None = None,
        durable: bool = True,
    ) -> None:
        self._home = home.resolve()
        self._database_url = database_url
        self._redis_url = redis_url
        self._durable = durable
        self._account: Account | None = None
        self._lock: HomeLock | None = None
        self._services: list[Service] = []

    def hold(self) -> None:
        """Take the home, made if need be, and start nothing yet. Raises `HomeRefused`."""
        self._account = service_account(self._home / "postgres")
        make_home(self._home, self._account)
        self._lock = HomeLock(self._home)

    def start(self) -> Urls:
        """Start what is wanted in the home, taking it if need be, and say where everything answers.

        Raises `HomeRefused`, `NotEmbeddable` or `ServiceFailed`; nothing is left running then.
        """
        if self._lock is None:
            self.hold()
        try:
            return self._start(self._account)
        except BaseException:
            self.stop()
            raise

    def _start(self, account: Account | None) -> Urls:
        database_url, redis_url = self._database_url, self._redis_url
        if database_url and redis_url:
            return Urls(database_url, redis_url)
        binaries = find_binaries(self._home, account)
        sockets = socket_folder(self._home, account)
        logs = own_folder(self._home / "logs", None)
        if not redis_url:
            redis = Redis(binaries, sockets, logs / "redis.log", account)
            self._services.append(redis)
            redis_url = redis.url
        if not database_url:
            postgres = Postgres(
                binaries,
                self._home / "postgres",
                sockets,
                logs / "postgres.log",
                account,
                durable=self._durable,
            )
            self._services.append(postgres)
            database_url = postgres.url
        for service in self._services:
            service.start()
        return Urls(database_url, redis_url)

    def pids(self) -> dict[str, int]:
        """The process of each server, by the server's name."""
        return {service.name: service.pid for service in self._services if service.pid}

    def revive(self) -> list[str]:
        """Start again what has died since the last call, and name it. Raises as `start` does."""
        dead = [service for service in self._services if not service.alive]
        for service in dead:
            log.error("service.died", service=service.name)
            service.start()
        return [service.name for service in dead]

    def stop(self) -> None:
        """End the servers and let the home go. May be called twice."""
        for service in reversed(self._services):
            service.stop()
        self._services.clear()
        if self._lock:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Urls:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
