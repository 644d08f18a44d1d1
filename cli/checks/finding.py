"""What a check found."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How bad it is. Only a problem makes `doctor` fail."""

    OK = "ok"
    NOTE = "note"  # works, and could be better or be more complete
    PROBLEM = "problem"  # something that should work does not


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fact about this machine; `advice` says what to do about it (empty: nothing)."""

    area: str
    state: State
    message: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def ok(area: str, message: str) -> Finding:
    return Finding(area=area, state=State.OK, message=message)


def note(area: str, message: str, advice: str = "") -> Finding:
    return Finding(area=area, state=State.NOTE, message=message, advice=advice)


def problem(area: str, message: str, advice: str) -> Finding:
    return Finding(area=area, state=State.PROBLEM, message=message, advice=advice)
