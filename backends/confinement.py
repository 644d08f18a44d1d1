"""What an engine's process does to itself before any native library is loaded."""

import fcntl
import os
import select
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

# Thread pools of native libraries read these when they are loaded; the parent sets them for the child.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
# glibc would raise these by itself, and then keep arrays of changing sizes in a heap that only grows: after
# two recordings of nine minutes the engine of Whisper had held 907 MB, with these 836. Every large array made
# of new pages costs time, too: with a threshold of 1 MB 7 % of it, with this one 3 %, left to glibc 1 %.
ALLOCATION = {
    "MALLOC_ARENA_MAX": "1",  # a thread's own heap would keep what another could use
    "MALLOC_MMAP_THRESHOLD_": "2000000",
    "MALLOC_TRIM_THRESHOLD_": "64000000",
}
OOM_SCORE = 500  # of 1000: when memory ends, the kernel takes an engine and not the database


def environment(base: Mapping[str, str], threads: int) -> dict[str, str]:
    """`base` with every thread pool bounded to `threads`, large arrays given back once they are freed (unless
    `base` says otherwise), and without the service's own settings: native code that parses what strangers
    send has no use for keys and database addresses."""
    kept = {name: value for name, value in base.items() if not name.startswith("BATCHYARD_")}
    return {**ALLOCATION, **kept, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def die_with_parent(lifeline: int) -> None:
    """Have the kernel kill this process once the other end of the pipe `lifeline` is closed.

    The parent alone holds that end and never writes. PR_SET_PDEATHSIG would fire when the *thread* that
    started us ends, and an end-of-file that Python must read does not interrupt a native call: a signal
    on the descriptor (fcntl(2), F_SETSIG) does neither wrong.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLHUP)
    if poll.poll(0):  # it was closed before the signal was armed
        os._exit(1)


def ignore_polite_signals() -> None:
    """Ctrl-C and a service manager's SIGTERM reach the whole group; what becomes of an engine is its
    parent's to decide."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def be_first_to_go() -> None:
    """Offer ourselves when memory ends. Some containers forbid it; then we are one process among others."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(OOM_SCORE))


def take_place(cores: Sequence[int], nice: int) -> None:
    """Pin this process, and every thread that it will start, to `cores`; yield to others by `nice` (or by
    more, if the service itself runs so). Raises OSError for cores that are not ours to use."""
    if cores:
        os.sched_setaffinity(0, cores)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def set_nice(pid: int, nice: int) -> bool:
    """Set the niceness of every thread of a process (on Linux each has its own). False if it is refused.

    A thread that ends meanwhile does not count.
    """
    with suppress(FileNotFoundError):  # the process has ended
        for thread in os.listdir(f"/proc/{pid}/task"):
            try:
                os.setpriority(os.PRIO_PROCESS, int(thread), nice)
            except ProcessLookupError:
                continue
            except PermissionError:
                return False
    return True
