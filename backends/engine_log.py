"""An engine's standard output and error, where native code writes: into the structured log, line by line."""

import os
import re
from collections import deque
from typing import IO

import structlog

KEPT_LINES = 40
LINE_BYTES = 4096  # a longer line is cut into pieces
READ_BYTES = 1 << 16
MOST_READS = 64  # per call, so that a child that writes without pause does not hold us up

log = structlog.get_logger(__name__)


class EngineLog:
    """Reads what has arrived whenever it is asked to. `tail` keeps the last lines for error reports."""

    def __init__(self, pipe: IO[bytes], **names: str) -> None:
        self._pipe = pipe
        self._names = names
        self._rest = b""
        self.tail: deque[str] = deque(maxlen=KEPT_LINES)
        self.ended = False
        self.watched = True  # by the poll set of its owner
        os.set_blocking(pipe.fileno(), False)

    def fileno(self) -> int:
        return self._pipe.fileno()

    def read(self) -> None:
        """Log the whole lines that have arrived, without waiting; at the end also an unfinished one."""
        for _ in range(MOST_READS):
            if self.ended:
                break
            try:
                data = os.read(self._pipe.fileno(), READ_BYTES)
            except BlockingIOError:
                break
            self.ended = not data
            self._take(data)

    def close(self) -> None:
        self.read()
        self.ended = True
        self._take(b"")
        self._pipe.close()

    def _take(self, data: bytes) -> None:
        *lines, self._rest = re.split(rb"[\r\n]+", self._rest + data)
        if self.ended or len(self._rest) >= LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            for start in range(0, len(line), LINE_BYTES):
                self._tell(line[start : start + LINE_BYTES].decode(errors="replace").rstrip())

    def _tell(self, line: str) -> None:
        if line:
            self.tail.append(line)
            log.debug("engine.log", line=line, **self._names)
