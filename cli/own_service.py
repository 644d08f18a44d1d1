"""A service that a command starts for itself, and ends with itself."""

import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cli.errors import CommandFailed
from store.embedded.child import end_child, start_child

READY = re.compile(rb"^ready (http://\S+)$", re.MULTILINE)
READY_SECONDS = 120.0
STOP_SECONDS = 30.0
LOG_LINES = 15  # of the log, shown when it does not come up


@contextmanager
def own_service(
    options: Sequence[str], log: Path, *, waiting: Callable[[float], None] = lambda seconds: None
) -> Iterator[str]:
    """Run `batchyard up OPTIONS` and give its URL once it is ready; what it says goes to `log`.

    It is stopped at the end, and by the kernel should we die before. `waiting` is told the seconds so far.
    Raises `CommandFailed` when it does not come up.
    """
    command = [sys.executable, "-m", "cli.main", "up", "--port", "0", *options]
    with log.open("wb") as output:
        child = start_child(command, output=output, death_signal=signal.SIGTERM)
    try:
        started = time.monotonic()
        while (found := READY.search(log.read_bytes())) is None:
            seconds = time.monotonic() - started
            if child.poll() is not None or seconds > READY_SECONDS:
                raise CommandFailed(f"the service did not come up:\n{_tail(log)}\n(all of it: {log})")
            waiting(seconds)
            time.sleep(0.1)
        yield found[1].decode()
    finally:
        end_child(child, (signal.SIGTERM, STOP_SECONDS))


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join(f"  {line}" for line in lines)
