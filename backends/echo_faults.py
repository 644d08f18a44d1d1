"""Faults of the echo family on chosen items, so that crashes, hangs and leaks are tested without luck.

Off by default. An item is chosen by a text that one of its inputs contains. The parts in hand are one
simulated native call: a crash takes all that are in flight with it, as real native code does.
"""

import os
import resource
import signal
import time
from collections.abc import Sequence

from backends.embeddings import parse_part
from backends.errors import BackendError, PartFailed
from backends.types import Part
from configs.families import EchoOptions
from configs.models import ModelSpec

MEGABYTE = 1 << 20


class EchoFaults:
    """What the options of a spec have gone wrong. Keeps what it leaks."""

    def __init__(self, spec: ModelSpec, options: EchoOptions) -> None:
        self._spec, self._options = spec, options
        self._leaked: list[bytearray] = []
        switches = (options.sleep_on, options.crash_on, options.hang_on, options.leak_on, options.fail_on)
        self._any = any(switch is not None for switch in switches)

    def strike(self, batch: Sequence[Part]) -> set[int]:
        """Go wrong as the chosen parts of a started batch say: sleep, leak, hang or crash. Returns the keys
        of those that are to fail."""
        options = self._options
        failing: set[int] = set()
        for part in batch if self._any else ():
            texts = self._texts(part)
            if _chosen(options.sleep_on, texts):
                time.sleep(options.sleep_ms / 1000)
            if _chosen(options.leak_on, texts):
                self._leaked.append(
                    bytearray(b"\x01") * (options.leak_mb * MEGABYTE)
                )  # every page is written
            if _chosen(options.crash_on, texts):
                crash(options.crash_signal)
            while _chosen(options.hang_on, texts):
                time.sleep(60)
            if _chosen(options.fail_on, texts):
                failing.add(part.key)
        return failing

    def _texts(self, part: Part) -> list[str]:
        """The inputs that are texts; none of a body that is wrong."""
        try:
            request = parse_part(
                part.body, model=self._spec.name, max_inputs=None, defaults=self._spec.defaults
            )
        except BackendError:
            return []
        return [text for text in request.inputs if isinstance(text, str)]


def failure() -> PartFailed:
    """What becomes of a part that is to fail."""
    return PartFailed("this item fails on purpose (fail_on)", code="engine_error")


def crash(name: str) -> None:
    """End this process by a signal, as native code does, without a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    number = signal.Signals[name]
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _chosen(switch: str | None, texts: Sequence[str]) -> bool:
    return switch is not None and any(switch in text for text in texts)
