"""The operating system's side of an engine: starting the child, watching it, ending it."""

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from backends.confinement import environment
from backends.engine_log import EngineLog

REAP_SECONDS = 2.0  # a process whose pipe has ended is gone within so long, or is made to go

# Signals by which native code ends itself. (SIGKILL comes from outside: the kernel short of memory, us.)
CRASHES = frozenset(
    {
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGTRAP,
        signal.SIGSYS,
    }
)


class EngineProcess:
    """A running child: `stream` is our end of its pipe, `log` what it writes, `pidfd` readable once it
    has ended. Reap it, then close it."""

    def __init__(self, command: Sequence[str], *, threads: int, **names: str) -> None:
        self.stream, theirs = socket.socketpair()
        self.stream.setblocking(False)
        try:
            with theirs:
                self._popen = _spawn(command, theirs, threads, names)
        except OSError:
            self.stream.close()
            raise
        assert self._popen.stdout is not None
        self.pid = self._popen.pid
        self.pidfd = os.pidfd_open(self.pid)
        self.log = EngineLog(self._popen.stdout, **names)
        self._epoll = select.epoll()
        self._epoll_fd = self._epoll.fileno()
        self._stream_events = select.EPOLLIN
        self._epoll.register(self.stream, self._stream_events)
        self._epoll.register(self.log, select.EPOLLIN)
        self._epoll.register(self.pidfd, select.EPOLLIN)

    def fileno(self) -> int:
        """One descriptor for a poll loop: readable when the stream, the log or the pidfd needs a look."""
        return self._epoll_fd

    @property
    def ended(self) -> bool:
        return self._popen.poll() is not None

    @property
    def signal_number(self) -> int | None:
        """The signal that ended the process; None if it exited by itself, or runs."""
        status = self._popen.returncode
        return -status if status is not None and status < 0 else None

    @property
    def end(self) -> str:
        """How the process ended, in words."""
        if self.signal_number is None:
            return f"exited with status {self._popen.returncode}"
        names = {number.value: number.name for number in signal.Signals}
        return f"was ended by {names.get(self.signal_number, f'signal {self.signal_number}')}"

    @property
    def cpu_seconds(self) -> float:
        """What its threads have computed so far; 0 once it is gone. The kernel's clock of a process, by the
        number that clock_getcpuclockid(3) makes of its pid."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return 0.0

    def watch(self, *, writable: bool) -> None:
        """Have `fileno` tell also when the stream takes more; stop watching a log that has ended."""
        events = select.EPOLLIN | (select.EPOLLOUT if writable else 0)
        if events != self._stream_events:
            self._stream_events = events
            self._epoll.modify(self.stream, events)
        if self.log.ended and self.log.watched:
            self.log.watched = False
            self._epoll.unregister(self.log)

    def wait(self, seconds: float) -> bool:
        """Wait for `fileno` to be readable."""
        return bool(self._epoll.poll(max(0.0, seconds)))

    def hang_up(self) -> None:
        """Tell the child that nothing more will come; what it says is still heard."""
        with suppress(OSError):
            self.stream.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        self._popen.kill()

    def reap(self) -> None:
        """Collect a child that is about to go, by force if it is slow. Logs its last lines."""
        try:
            self._popen.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self.log.read()

    def close(self) -> None:
        """Free the descriptors of a child that was reaped."""
        assert self._popen.stdin is not None
        self._epoll.close()
        self.log.close()
        self.stream.close()
        self._popen.stdin.close()
        os.close(self.pidfd)


def _spawn(
    command: Sequence[str], pipe: socket.socket, threads: int, names: dict[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, str(pipe.fileno()), *names.values()],  # the names are for those who read `ps`
        stdin=subprocess.PIPE,  # its lifeline: the child dies when we close it, or die
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[pipe.fileno()],
        env=environment(os.environ, threads),
    )
