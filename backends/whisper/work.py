"""A part in the backend's hands: the windows that are still to be heard, and what was heard in the others."""

from collections import Counter
from dataclasses import dataclass, field, replace
from time import monotonic

from backends.types import Part, Segment, Source, TranscriptResult
from backends.whisper.opening import Opened, Opening
from backends.whisper.recognizer import Prepared
from backends.whisper.segments import milliseconds, segments_of
from backends.whisper.window import Asking, Heard, Window

PROGRESS_SECONDS = 0.5  # a part tells how far it is at most that often
NO_SPEECH = "no_speech"


@dataclass(eq=False, kw_only=True)
class Hearing:
    """A window of a part. `full`: it is heard as if it were 30 seconds long; `depth`: how often it was split;
    `prepared` once it is."""

    work: "Work"
    window: Window
    asking: Asking
    full: bool = False
    depth: int = 0
    prepared: Prepared | None = None

    def again_in_full(self) -> "Hearing":
        return replace(self, full=True, prepared=None)

    def warmer(self, temperature: float) -> "Hearing":
        """The last tries do without the prompt: a long one may be what is said again and again."""
        return replace(self, asking=replace(self.asking, temperature=temperature, prompt=None))

    def half(self, window: Window) -> "Hearing":
        """A part of the window, heard as the window was at first."""
        return Hearing(work=self.work, window=window, asking=self.work.asking, depth=self.depth + 1)


@dataclass(eq=False, kw_only=True)
class Work:
    """One part. While it is being opened it has an `opening`; then `hearings`, the windows without an answer.

    `left_ms` of audio are still to be heard, as far as is known; `ended` once it has its answer or was
    cancelled.
    """

    part: Part
    source: Source
    asking: Asking
    interactive: bool
    opening: Opening | None
    left_ms: int = 0
    hearings: list[Hearing] = field(default_factory=list)
    started: bool = False
    ended: bool = False
    opened: Opened | None = None
    _segments: list[Segment] = field(default_factory=list)  # those that are final, by start
    _early: list[Segment] = field(default_factory=list)  # those that a window before them may yet precede
    _languages: Counter[str] = field(default_factory=Counter)
    _told: float = field(default_factory=monotonic)

    @property
    def key(self) -> int:
        return self.part.key

    @property
    def milliseconds(self) -> int:
        """How much audio it is about, as far as is known."""
        return self.opened.end_ms - self.opened.start_ms if self.opened else self.left_ms

    def open_with(self, opened: Opened) -> None:
        """Its windows are known."""
        self.opening, self.opened = None, opened
        self.hearings = [Hearing(work=self, window=each, asking=self.asking) for each in opened.windows]
        self._count()

    def settle(self, hearing: Hearing, heard: Heard | None) -> None:
        """A window has its answer; None: nobody speaks in it."""
        self.hearings.remove(hearing)
        self._count()
        if heard is not None:
            self._early += segments_of(hearing.window, heard)
            if heard.language is not None:
                self._languages[heard.language] += len(hearing.window.samples)

    def redo(self, hearing: Hearing, instead: list[Hearing]) -> None:
        """A window is heard again, otherwise, or in parts."""
        at = self.hearings.index(hearing)
        self.hearings[at : at + 1] = instead

    def final_segments(self) -> list[Segment]:
        """Segments that no other can precede any more, by start; each is given once."""
        bound = min((milliseconds(hearing.window.start) for hearing in self.hearings), default=None)
        self._early.sort(key=lambda segment: (segment.start_ms, segment.channel or 0))
        final = [one for one in self._early if bound is None or one.start_ms < bound]
        del self._early[: len(final)]
        self._segments += final
        return final

    def progress(self) -> tuple[float, float] | None:
        """Seconds heard, and seconds in all, when it is time to tell."""
        now = monotonic()
        if self.ended or now - self._told < PROGRESS_SECONDS:
            return None
        self._told = now
        total = self.milliseconds
        return max(0, total - self.left_ms) / 1000, total / 1000

    def result(self) -> TranscriptResult:
        """What is stored, once every window has its answer."""
        assert self.opened is not None
        assert not self.hearings
        opened = self.opened
        silent = [] if self._segments else [NO_SPEECH]
        return TranscriptResult(
            start_ms=opened.start_ms,
            end_ms=opened.end_ms,
            segments=self._segments,
            language=max(self._languages, key=lambda code: self._languages[code], default=None),
            total_ms=opened.total_ms,
            warnings=opened.warnings + silent,
        )

    def _count(self) -> None:
        self.left_ms = sum(milliseconds(len(hearing.window.samples)) for hearing in self.hearings)
