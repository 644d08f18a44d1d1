"""Start a child process that ends with us, whatever ends us."""

import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired
from typing import IO

from store.embedded.account import Account, run_as

PR_SET_PDEATHSIG = 1  # linux/prctl.h

# Bound before any fork: between fork and exec nothing may be imported or looked up.
_prctl = ctypes.CDLL(None).prctl


def start_child(
    argv: Sequence[str],
    *,
    output: IO[bytes] | int,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Popen[bytes]:
    """Start `argv`, in a session of its own so that Ctrl-C reaches us alone; `output` takes both its streams.

    The kernel sends it `death_signal` when the thread that called this ends: call it from the main thread.
    """
    parent = os.getpid()

    def end_with_parent() -> None:
        # Popen has changed the account before this; a later change would clear the signal again.
        _prctl(PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return Popen(
        argv,
        stdin=DEVNULL,
        stdout=output,
        stderr=output,
        env=None if env is None else dict(env),
        cwd=cwd,
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=end_with_parent,
        **run_as(account),
    )


def end_child(child: Popen[bytes], *steps: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn and wait the seconds beside it; SIGKILL is the last resort."""
    for number, seconds in steps:
        if child.poll() is not None:
            return
        child.send_signal(number)
        try:
            child.wait(seconds)
        except TimeoutExpired:
            continue
    if child.poll() is None:
        child.kill()
    child.wait()
