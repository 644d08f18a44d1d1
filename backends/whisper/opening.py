"""From the bytes of a recording to the windows of it that are heard, in steps that each hold the engine for a
fraction of a second.

A long recording is not heard in one part. Its first part only finds where it can be cut: near every nominal
boundary a few seconds are decoded, and the longest pause among them is taken. Each piece then is a part of
its own, which any slot may compute.
"""

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise

from backends.audio.reader import Reader
from backends.audio.survey import Survey
from backends.errors import InvalidBody
from backends.transcription import Stretch
from backends.whisper import stretches
from backends.whisper.loudness import audible
from backends.whisper.speech import spans_of
from backends.whisper.vad import Vad
from backends.whisper.window import RATE, Samples, Window
from backends.whisper.windows import cut

TRUNCATED, DAMAGED = "truncated_input", "damaged_input"
# What is left to do of a plan, told as milliseconds of audio: to decode around a boundary costs about as much
# as to hear so much.
BOUNDARY_MS = 4000


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a part is about: the stretch from `start_ms` to `end_ms`, and the windows in it, by start.

    `total_ms` is the recording's length, where the part is all of it. `warnings` are those of
    `TranscriptResult`.
    """

    start_ms: int
    end_ms: int
    windows: list[Window]
    warnings: list[str]
    total_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where a long recording is cut: the pieces, which together are all of it."""

    total_ms: int
    warnings: list[str] = field(default_factory=list)
    cuts: list[int]

    @property
    def pieces(self) -> list[Stretch]:
        return list(pairwise([0, *self.cuts, self.total_ms]))


# Yields, between native calls, how many milliseconds of audio are still to be heard; 0 while that is unknown.
Opening = Generator[int, None, Opened | Plan]


@dataclass(frozen=True, kw_only=True)
class Opener:
    """How recordings are opened for a model: `window_seconds` is the longest window that it hears."""

    vad: Vad
    window_seconds: float

    def whole(self, path: str, *, split: bool) -> Opening:
        """Open a recording; if it is long, plan it. `split`: each channel has windows of its own.

        Raises `InvalidBody` for what is no recording.
        """
        survey = Survey(path)
        while not survey.step():
            yield 0
        warnings = [TRUNCATED] * survey.truncated + [DAMAGED] * survey.damaged
        if survey.total_ms > stretches.LONGEST_MS:
            # Channels that cannot be had apart are told now, not by every piece.
            yield from _decoded(Reader(path, 0, 0, split), 0)
            cuts = yield from self._cuts(path, survey.total_ms)
            return Plan(total_ms=survey.total_ms, cuts=cuts, warnings=warnings)
        windows, damaged = yield from self._read(path, (0, survey.total_ms), split)
        return Opened(
            start_ms=0,
            end_ms=survey.total_ms,
            windows=windows,
            warnings=list(dict.fromkeys(warnings + damaged)),
            total_ms=survey.total_ms,
        )

    def piece(self, path: str, stretch: Stretch, *, split: bool) -> Opening:
        """Open a stretch of a long recording. What cannot be decoded of it counts as silence: the others are
        heard all the same."""
        windows: list[Window] = []
        warnings = [DAMAGED]
        with suppress(InvalidBody):
            windows, warnings = yield from self._read(path, stretch, split)
        return Opened(start_ms=stretch[0], end_ms=stretch[1], windows=windows, warnings=warnings)

    def _cuts(self, path: str, total_ms: int) -> Generator[int, None, list[int]]:
        """Where to cut, in milliseconds, increasing."""
        boundaries = stretches.nominal(total_ms)
        cuts: list[int] = []
        for number, boundary in enumerate(boundaries):
            left = (len(boundaries) - number) * BOUNDARY_MS
            begin, end = stretches.region(boundary)
            try:
                (samples,) = yield from _decoded(Reader(path, begin, min(end, total_ms), False), left)
            except InvalidBody:  # nothing to hear there
                cuts.append(boundary)
                continue
            cuts.append(stretches.best_cut(self.vad, samples, begin) if len(samples) else boundary)
        return cuts

    def _read(
        self, path: str, stretch: Stretch, split: bool
    ) -> Generator[int, None, tuple[list[Window], list[str]]]:
        """Decode a stretch and cut it into windows; with warnings."""
        start_ms, end_ms = stretch
        left = end_ms - start_ms
        reader = Reader(path, start_ms, end_ms, split)
        channels = yield from _decoded(reader, left)
        windows: list[Window] = []
        for number, samples in enumerate(channels):
            windows += self._windows(samples, start_ms * RATE // 1000, number if split else None)
            yield left
        return sorted(windows, key=lambda window: window.start), [DAMAGED] * reader.damaged

    def _windows(self, samples: Samples, start: int, channel: int | None) -> Iterator[Window]:
        spans = spans_of(self.vad.probabilities(audible(samples)), len(samples), start)
        for window in cut(samples, start, spans, self.window_seconds, channel):
            yield replace(window, samples=window.samples.copy())  # so that the stretch can go


def _decoded(reader: Reader, left_ms: int) -> Generator[int, None, list[Samples]]:
    while not reader.step():
        yield left_ms
    return reader.channels
