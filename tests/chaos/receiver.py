"""A receiver of webhooks on loopback, which is now and then not in the mood."""

from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import NamedTuple, Self


class Received(NamedTuple):
    """One attempt as it came in."""

    body: bytes
    headers: dict[str, str]


class Receiver(ThreadingHTTPServer):
    """Keeps what it got, by event id. The first attempt of every third event is answered with 503."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: dict[str, list[Received]] = defaultdict(list)
        self._lock = Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    def keep(self, event_id: str, received: Received) -> int:
        """The status to answer with."""
        with self._lock:
            self.got[event_id].append(received)
            moody = len(self.got) % 3 == 0 and len(self.got[event_id]) == 1
        return 503 if moody else 200

    def __enter__(self) -> Self:
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A deliverer that is killed drops its connections."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.server.keep(headers.get("webhook-id", ""), Received(body, headers))
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the output clean."""
