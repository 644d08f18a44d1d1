"""Decoding what belongs to a stretch of a recording, from wherever its file stands."""

from collections.abc import Iterator

from av.audio.frame import AudioFrame

from backends.audio.media import Media, Packet
from backends.audio.placing import Stretch
from backends.audio.timeline import Facts, Timeline

LEAD = 1.0  # seconds decoded before the stretch: decoders need some packets before they are right
_ERRORS_OF_A_CUT = 2  # packets at a file's very end that a cut explains, and no damage


class Decoding:
    """One pass over an open file. `sought`: it stands where a seek has put it, and not at its beginning.
    `late` says afterwards that this was behind the stretch's beginning, so that nothing was decoded."""

    def __init__(self, media: Media, stretch: Stretch, facts: Facts, *, sought: bool) -> None:
        self.late = False
        self._begun = not sought
        self._media = media
        self._stretch = stretch
        self._facts = facts
        self._timeline = Timeline(media, steady=facts.steady, sought=sought)
        self._errors = 0  # packets in a row that could not be decoded

    def steps(self) -> Iterator[None]:
        """Decode into the stretch, pausing after every packet."""
        for packet in self._media.packets():
            at = self._timeline.place(packet)
            if at > self._stretch.end:
                break
            if at >= self._stretch.begin - LEAD:
                self._decode(packet, at)
                if self.late:
                    return
            yield
        else:
            self._decode(None, self._timeline.end)
            if self._errors <= _ERRORS_OF_A_CUT:
                self._errors = 0
        self.late = not self._begun
        self._stretch.finish()
        self._stretch.clean()
        if self._errors or self._timeline.lost or (self._media.damaged and not self._facts.truncated):
            self._stretch.damaged = True

    def _decode(self, packet: Packet | None, at: float) -> None:
        frames = self._media.decoded(packet)
        if frames is None:
            if at >= self._stretch.begin:  # before, a seek may have ended in the middle of a packet
                self._errors += 1
            return
        for frame in frames:
            seconds = self._stamp(frame, at)
            at = seconds + frame.samples / max(frame.sample_rate, 1)
            if not self._begun and seconds > self._stretch.begin:
                self.late = True
                return
            self._begun = True
            if self._errors:  # something good came after it
                self._errors = 0
                self._stretch.damaged = True
            if at > self._stretch.begin and seconds < self._stretch.end:
                self._stretch.add(frame, seconds)

    def _stamp(self, frame: AudioFrame, otherwise: float) -> float:
        if not self._facts.steady or frame.pts is None:
            return otherwise
        return frame.pts * self._media.tick - self._media.origin
