"""An engine's process that keeps an account: each part that the echo family computes is a line, with the
time, in the file that COMPUTED names. Run in place of `backends.engine_child` by `CountingEngine`.
"""

import os
import sys
import time
from pathlib import Path
from typing import ClassVar

from backends import echo
from backends.engine import Engine
from backends.engine_child import main
from backends.types import Event, Part

VARIABLE = "COMPUTED"


class CountingEngine(Engine):
    command: ClassVar[tuple[str, ...]] = (sys.executable, "-P", __file__)


class Computed:
    """The account as it stands: (monotonic seconds, body) of each part, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[tuple[float, bytes]]:
        """Without a last line that is not whole yet."""
        whole = self._path.read_bytes().split(b"\n")[:-1] if self._path.exists() else []
        return [(float(at), body) for at, _, body in (line.partition(b" ") for line in whole)]


class CountingBackend(echo.EchoBackend):
    """Echo, with the account. One write per line: several engines share the file."""

    def _answer(self, part: Part) -> Event:
        event = super()._answer(part)
        account = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(account, b"%.3f %s\n" % (time.monotonic(), part.body))
        os.close(account)
        return event


if __name__ == "__main__":  # in the engine's process alone
    echo.EchoBackend = CountingBackend  # type: ignore[misc]
    sys.exit(main(sys.argv[1:]))
