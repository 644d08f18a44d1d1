"""An engine's process that keeps an account of recordings, in the file that HEARD names: what it has begun to
hear and what it has heard. Run in place of `backends.engine_child` by `AccountingEngine`.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from backends.engine import Engine
from backends.engine_child import main
from backends.registry import FAMILIES, Runtime

VARIABLE = "HEARD"
Stretch = tuple[int, int]  # milliseconds


class AccountingEngine(Engine):
    command: ClassVar[tuple[str, ...]] = (sys.executable, "-P", __file__)


@dataclass(frozen=True)
class Entry:
    """`at` (monotonic seconds) the engine `pid` began with a part, or was done with it. The part that plans a
    long recording has no stretch."""

    at: float
    pid: int
    done: bool
    stretch: Stretch | None

    @classmethod
    def read(cls, line: bytes) -> Self:
        at, pid, done, stretch = json.loads(line)
        return cls(at, pid, done, tuple(stretch) if stretch else None)


def entries(account: Path) -> list[Entry]:
    """The account as it stands, without a last line that is not whole yet."""
    lines = account.read_bytes().split(b"\n")[:-1] if account.exists() else []
    return [Entry.read(line) for line in lines]


if __name__ == "__main__":  # in the engine's process alone
    FAMILIES["whisper"].runtimes["ctranslate2"] = Runtime(
        backend="tests.backends.accounting_whisper:AccountingBackend"
    )
    sys.exit(main(sys.argv[1:]))
