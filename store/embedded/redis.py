"""The embedded Redis, on a unix socket, without TCP and without a file: nothing in it is needed again."""

import signal
import socket
from pathlib import Path
from urllib.parse import quote

from store.embedded.account import Account
from store.embedded.binaries import Binaries
from store.embedded.service import Service


class Redis(Service):
    """A server with its socket in `sockets`. A restart is empty: Postgres is the only truth."""

    name = "Redis"
    start_seconds = 30.0
    stop_steps = ((signal.SIGTERM, 5.0),)
    death_signal = signal.SIGKILL

    def __init__(self, binaries: Binaries, sockets: Path, log_file: Path, account: Account | None) -> None:
        super().__init__(log_file, account)
        self._program = binaries.redis_server
        self._socket = sockets / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    def start(self) -> None:
        command = [
            str(self._program), "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700",
            "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        self._spawn(command, cwd=self._socket.parent)
        if not self._wait():
            raise self._failure("has ended while starting")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False
