"""The engine's process: `python -m backends.engine_child FD`. Confine, load, serve; nothing else.

FD is its end of the pipe, standard input its lifeline, standard output and error its log. Native
libraries are imported last, when the process is already pinned and bounded.
"""

import socket
import sys
import time
import traceback
from pathlib import Path

from backends import confinement
from backends.base import Backend
from backends.engine_feed import PipeFeed
from backends.errors import BackendError, LoadFailed
from backends.pipe import Broken, Load, Ready
from backends.registry import backend_class
from backends.types import ErrorInfo
from configs.models import ModelSpec

LIFELINE = 0
LOAD_ERROR = "model_load_failed"


def main(arguments: list[str]) -> int:
    """Run until the controller closes the pipe. Returns the exit status."""
    confinement.die_with_parent(LIFELINE)
    confinement.ignore_polite_signals()
    stream = socket.socket(fileno=int(arguments[0]))
    stream.setblocking(False)
    stream.set_inheritable(False)
    feed = PipeFeed(stream)
    load = feed.wait_for_load()
    if load is None:
        return 1
    try:
        backend = start(load, feed)
    except BackendError as error:
        feed.send(Broken(ErrorInfo(error.code, error.message)))
        feed.flush()
        return 1
    serve(backend, feed)
    backend.close()
    return 0


def start(load: Load, feed: PipeFeed) -> Backend:
    """Take our place, load the model and say so. Raises `BackendError` with what to do about it."""
    try:
        confinement.be_first_to_go()
        confinement.take_place(load.cores, load.nice)
    except OSError as error:
        raise LoadFailed(f"cannot run on cores {load.cores}: {error.strerror}", code=LOAD_ERROR) from error
    began = time.monotonic()
    backend = _load_backend(ModelSpec.model_validate_json(load.spec), load)
    feed.send(Ready({**backend.info, "load_seconds": round(time.monotonic() - began, 3)}))
    return backend


def serve(backend: Backend, feed: PipeFeed) -> None:
    """Run the backend whenever the feed is open. Returns when the controller is done with the engine."""
    while feed.rest():
        error = _run(backend, feed)
        had_parts = feed.give_up(error or ErrorInfo("engine_error", "the engine gave no answer to this part"))
        if error is not None and not had_parts:
            sys.exit("the backend cannot run at all")  # it would fail the same way for ever


def _load_backend(spec: ModelSpec, load: Load) -> Backend:
    try:
        backend = backend_class(spec.family, load.runtime)
    except (ImportError, OSError) as error:  # a shared library that is missing, or of another system
        traceback.print_exc()
        what = f"runtime '{load.runtime}' cannot be imported ({type(error).__name__})"
        raise LoadFailed(f"{what}; see: batchyard doctor", code="bad_native_build") from error
    try:
        return backend.load(spec, Path(load.folder), max(1, len(load.cores)))
    except BackendError:
        raise
    except Exception as error:
        traceback.print_exc()
        what = f"model '{spec.name}' could not be loaded ({type(error).__name__})"
        raise LoadFailed(f"{what}; the worker's log says more", code=LOAD_ERROR) from error


def _run(backend: Backend, feed: PipeFeed) -> ErrorInfo | None:
    """One run of the backend. Returns what went wrong, None if it ended as it should."""
    try:
        for event in backend.run(feed):
            feed.report(event)
    except BackendError as error:
        traceback.print_exc()
        return ErrorInfo(error.code, error.message, error.param)
    except Exception as error:
        traceback.print_exc()
        return ErrorInfo("engine_error", f"the engine failed ({type(error).__name__})")
    if not feed.closed:
        return ErrorInfo("engine_error", "the engine stopped before its feed was closed")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
