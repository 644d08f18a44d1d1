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
_LONGEST_UNSTAMPED = 5.0  # seconds without a time stamp that damage explains
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

    `steady` turns false when time stamps cannot be relied on. `lost` counts packets without one between
    others that have one: where bytes are damaged.
    """

    def __init__(self, media: Media, *, steady: bool = True, sought: bool = False) -> None:
        """`sought`: the file does not stand at its beginning."""
        self.steady = steady
        self.lost = 0
        self._media = media
        self._counted = 0.0
        self._stamped: float | None = None if sought else 0.0  # where the next packet begins
        self._unstamped = 0.0  # seconds in a row
        self._usual = 0.0  # how long packets are, for one that does not say

    @property
    def end(self) -> float:
        """Where what was placed ends."""
        return self._counted if not self.steady or self._stamped is None else self._stamped

    def place(self, packet: Packet) -> float:
        """Where `packet` begins; may be a little before 0 (a codec's first samples are not played)."""
        length = self._length(packet)
        counted = self._counted
        self._counted += length
        if self.steady:
            at = self._stamp(packet, length)
            if at is not None:
                self._stamped = max(self._stamped or 0.0, at + length)
                return at
            self.steady = False
        return counted

    def _stamp(self, packet: Packet, length: float) -> float | None:
        """Where the time stamp says that `packet` begins, None where it cannot be believed."""
        if packet.pts is None:
            self.lost += 1
            self._unstamped += length
            return self._stamped if self._unstamped <= _LONGEST_UNSTAMPED else None
        self._unstamped = 0.0
        at = packet.pts * self._media.tick - self._media.origin
        believed = self._stamped is None or -_STEP_BACK <= at - self._stamped <= LONGEST_GAP
        return at if believed else None

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
