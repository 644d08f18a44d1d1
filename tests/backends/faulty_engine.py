"""An engine's process with a family that breaks on purpose: `options.fault` names how.

Run in place of `backends.engine_child` by `FaultyEngine`. A fault that needs a part strikes on one whose
body asks for it; every other part is answered as echo does.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from backends.base import Feed
from backends.confinement import THREAD_VARIABLES
from backends.echo import EchoBackend
from backends.engine import Engine
from backends.engine_child import main
from backends.errors import PartFailed
from backends.registry import FAMILIES, Family, Runtime
from backends.types import Done, Event, Part, Started
from configs.models import ModelSpec


class FaultyEngine(Engine):
    command: ClassVar[tuple[str, ...]] = (sys.executable, __file__)


def faulty_spec(fault: str = "", **options: Any) -> ModelSpec:
    return ModelSpec(name="faulty", family="faulty", runtime="faulty", options={"fault": fault, **options})


def die_of(name: str) -> None:
    """End this process by a signal, as native code does."""
    number = signal.Signals[name]
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class FaultyBackend(EchoBackend):
    """Echo, but for the fault."""

    fault: str

    @classmethod
    def load(cls, spec: ModelSpec, folder: Path, threads: int) -> Self:
        options = dict(spec.options)
        fault = options.pop("fault")
        if fault.startswith("load:"):
            die_of(fault.removeprefix("load:"))
        if fault == "load exits":
            os._exit(3)
        if fault == "slow load":
            time.sleep(1)
        if fault == "load raises":
            raise ValueError("/a/path/that/nobody/should/see")
        backend = super().load(spec.model_copy(update={"options": options}), folder, threads)
        backend.fault = fault
        sys.stdout.write("loaded, says Python\n")
        sys.stdout.flush()
        os.write(2, b"loaded, says native code\n")
        if fault == "closes its log":
            os.close(1)
            os.close(2)
        if fault == "writes nonsense":
            os.write(int(sys.argv[1]), b"\xff" * 64)
        return backend

    @property
    def info(self) -> dict[str, Any]:
        with open("/proc/self/oom_score_adj") as file:
            oom_score = int(file.read())
        return {
            "cores": sorted(os.sched_getaffinity(0)),
            "nice": os.getpriority(os.PRIO_PROCESS, 0),
            "oom_score": oom_score,
            "secrets": [name for name in os.environ if name.startswith("BATCHYARD_")],
            "threads": {name: os.environ[name] for name in THREAD_VARIABLES},
        }

    def run(self, feed: Feed) -> Iterator[Event]:
        if self.fault == "cannot run":
            raise RuntimeError("never runs")
        if self.fault == "takes and raises":
            feed.take(8, wait=None)
            raise RuntimeError("lost them")
        if self.fault == "takes and returns":
            feed.take(8, wait=None)
            return
        if self.fault == "crashes before it starts":
            feed.take(8, wait=None)
            die_of("SIGSEGV")
        if self.fault == "talks too much":
            yield from self._talk_too_much(feed)
        yield from super().run(feed)

    def _talk_too_much(self, feed: Feed) -> Iterator[Event]:
        (part,) = feed.take(1, wait=None)
        yield Started([part.key, 999])
        yield Done(part.key, b"first")
        yield Done(part.key, b"second")
        yield Done(999, b"nobody asked")

    def _answer(self, part: Part) -> Event:
        if part.body == b"crash":
            die_of("SIGSEGV")
        if part.body == b"exit":
            os._exit(1)
        if part.body == b"hang":
            time.sleep(600)
        if part.body == b"hang with the GIL":
            ctypes.PyDLL(None).sleep(600)
        if part.body == b"raise":
            raise RuntimeError("a defect")
        if part.body == b"raise with a code":
            raise PartFailed("not a number", code="non_finite_output")
        return super()._answer(part)


if __name__ == "__main__":  # in the engine's process alone: the tests' own table stays as it is
    FAMILIES["faulty"] = Family(
        endpoints=("/v1/embeddings",),
        runtimes={"faulty": Runtime(backend="__main__:FaultyBackend")},
    )
    sys.exit(main(sys.argv[1:]))
