"""Where packets stand in a recording, and the facts of a recording that a survey has found.

A packet's own time stamp says where it stands. A file may have none, or ones that run backwards (streams put
together, damage): then its packets are counted instead, which needs reading from the beginning.
"""

import os
from collections import OrderedDict
from dataclasses import dataclass

from backends.audio.media import Media, Packet

LONGEST_GAP = 3600.0  # seconds of nothing between two packets that are believed
_STEP_BACK = 0.5  # seconds; less is how coarse a container's clock may be
_REMEMBERED = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a survey has found. `steady`: time stamps can be relied on, so that one may seek by them.
    `truncated`: the file was to be longer; `damaged`: packets could not be read."""

    total_ms: int
    channels: int
    layout: str
    truncated: bool
    damaged: bool
    steady: bool


class Timeline:
    """Places one packet after the other, in seconds from the recording's beginning.

    `steady` turns false when time stamps cannot be relied on. `end` is where the recording ends so far.
    """

    def __init__(self, media: Media, *, steady: bool = True) -> None:
        self.steady = steady
        self._media = media
        self._counted = 0.0
        self._stamped = 0.0
        self._usual = 0.0  # how long packets are, for one that does not say

    @property
    def end(self) -> float:
        return self._stamped if self.steady else self._counted

    def place(self, packet: Packet) -> float:
        """Where `packet` begins; may be a little before 0 (a codec's first samples are not played)."""
        length = self._length(packet)
        counted = self._counted
        self._counted += length
        if not self.steady:
            return counted
        if packet.pts is None:
            self.steady = False
            return counted
        at = packet.pts * self._media.tick - self._media.origin
        if not -_STEP_BACK <= at - self._stamped <= LONGEST_GAP:
            self.steady = False
            return counted
        self._stamped = max(self._stamped, at + length)
        return at

    def _length(self, packet: Packet) -> float:
        if packet.duration:
            self._usual = max(0.0, packet.duration * self._media.tick)
        elif not self._usual:
            context = self._media.stream.codec_context
            self._usual = context.frame_size / context.sample_rate if context.sample_rate else 0.0
        return self._usual


_known: OrderedDict[tuple[str, int, int], Facts] = OrderedDict()


def remember(path: str, facts: Facts) -> None:
    """Keep what was found: the parts of a recording that one engine computes are surveyed once."""
    _known[_identity(path)] = facts
    while len(_known) > _REMEMBERED:
        _known.popitem(last=False)


def known(path: str) -> Facts | None:
    return _known.get(_identity(path))


def _identity(path: str) -> tuple[str, int, int]:
    try:
        status = os.stat(path)
    except OSError:  # opening it will say so
        return path, 0, 0
    return path, status.st_size, status.st_mtime_ns
