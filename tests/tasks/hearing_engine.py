"""An engine's process with a family that "hears" text files: each line is a second of speech.

Run in place of `backends.engine_child` by `HearingEngine`. A file of more than four lines is long: its first
part plans pieces of two lines each. Each line takes `delay_ms`.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

from backends.base import Backend, Feed
from backends.engine import Engine
from backends.engine_child import main
from backends.registry import FAMILIES, Family, Runtime
from backends.transcription import ENDPOINTS, TranscriptionRequest, parse_part, piece
from backends.types import (
    Delta,
    Done,
    Event,
    Lane,
    Part,
    Progress,
    Segment,
    Started,
    TranscriptResult,
    encode_result,
    encode_segments,
)
from configs.families import FamilyRules, TranscriptionDefaults, Values
from configs.models import ModelSpec

LONGEST_LINES, PIECE_LINES = 4, 2
FAMILY = Family(endpoints=ENDPOINTS, runtimes={"hearing": Runtime(backend="__main__:HearingBackend")})


class HearingOptions(Values):
    delay_ms: float = 0.0


RULES = FamilyRules(runtimes={"hearing": ""}, options=HearingOptions, defaults=TranscriptionDefaults)


class HearingEngine(Engine):
    command: ClassVar[tuple[str, ...]] = (sys.executable, __file__)


@dataclass(frozen=True, eq=False)
class Hearing:
    """A part in hand; `lines` is how long its recording is."""

    part: Part
    lines: int
    events: Iterator[Event]


class HearingBackend(Backend):
    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._delay = HearingOptions.model_validate(spec.options).delay_ms / 1000

    @classmethod
    def load(cls, spec: ModelSpec, folder: Path, threads: int) -> Self:
        return cls(spec)

    @property
    def info(self) -> dict[str, Any]:
        return {}

    def run(self, feed: Feed) -> Iterator[Event]:
        """One line is a native call: of an interactive part if there is one, of the shortest."""
        hearings: list[Hearing] = []
        while True:
            for part in feed.take(2 - len(hearings), wait=0.0 if hearings else None):
                hearings.append(self._begin(part))
            if hearings:
                hearing = min(hearings, key=lambda hearing: (hearing.part.lane is Lane.BULK, hearing.lines))
                event = None if hearing.part.key in feed.cancelled() else next(hearing.events, None)
                if event is None:
                    hearings.remove(hearing)
                else:
                    yield event
            elif feed.closed:
                return

    def close(self) -> None:
        """Nothing to free."""

    def _begin(self, part: Part) -> "Hearing":
        assert part.source is not None
        request = parse_part(part.body, part.endpoint, model=self._spec.name)
        lines = Path(part.source.path).read_text().split("\n")
        if request.stretch is None and len(lines) > LONGEST_LINES:
            done = self._plan(part, (part.source.blob, part.source.name), len(lines))
            return Hearing(part, len(lines), iter([Started([part.key]), done]))
        return Hearing(part, len(lines), self._hear(part, request, lines))

    def _hear(self, part: Part, request: TranscriptionRequest, lines: list[str]) -> Iterator[Event]:
        yield Started([part.key])
        start_ms, end_ms = request.stretch or (0, 1000 * len(lines))
        segments = []
        for n in range(start_ms // 1000, end_ms // 1000):
            time.sleep(self._delay)
            segments.append(segment(n, f" {lines[n]}"))
            yield Progress(part.key, n + 1 - start_ms // 1000)
            yield Delta(part.key, encode_segments(segments[-1:]))
        total = None if request.stretch else end_ms
        result = TranscriptResult(start_ms, end_ms, segments, language="en", total_ms=total)
        yield Done(part.key, encode_result(result), units=end_ms - start_ms)

    def _plan(self, part: Part, attachment: tuple[str, str], lines: int) -> Done:
        cuts = [*range(0, lines, PIECE_LINES), lines]
        stretches = [(1000 * lo, 1000 * hi) for lo, hi in pairwise(cuts)]
        more = [piece(part.body, attachment, stretch) for stretch in stretches]
        result = TranscriptResult(0, 0, [], total_ms=1000 * lines)
        return Done(part.key, encode_result(result), more=more, foreseen=1000 * lines)


def segment(second: int, text: str) -> Segment:
    return Segment(1000 * second, 1000 * second + 1000, text, [], 0, 0.0, 0.0, 1.0, 0.0)


if __name__ == "__main__":  # in the engine's process alone: the tests' own table stays as it is
    FAMILIES["hearing"] = FAMILY
    sys.exit(main(sys.argv[1:]))
