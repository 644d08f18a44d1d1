"""The sound of a stretch of a recording, decoded to 16 kHz."""

from collections.abc import Iterator

from backends.audio.decoding import LEAD, Decoding
from backends.audio.errors import invalid_audio
from backends.audio.media import Media
from backends.audio.placing import Stretch
from backends.audio.stepping import Stepwise
from backends.audio.survey import Survey
from backends.audio.timeline import Facts, known
from backends.whisper.window import RATE, Samples

_MOST_SPLIT = 8  # channels that may be had apart
# Two channels of which one has its poles exchanged are silent when they are mixed. So where the mix is as
# faint as this, the channels are had apart; the louder one is heard if it has so many times the mix's energy.
_FAINT, _CANCELLED = 0.01, 100.0


class Reader(Stepwise):
    """Call `step` until it is done; then `channels` and `damaged` may be read.

    Positions are exact to about a millisecond, wherever decoding began. Memory goes with the length of the
    stretch and not of the recording.
    """

    def __init__(self, path: str, start_ms: int, end_ms: int | None, split: bool) -> None:
        """The stretch `start_ms` ≤ position < `end_ms` (None: the recording's end). `split`: every channel
        apart, instead of all mixed into one."""
        self.channels: list[Samples] = []
        self.damaged = False
        self._path = path
        self._start_ms = start_ms
        self._end_ms = end_ms
        self._split = split

    def _stretches(self) -> Iterator[None]:
        facts = known(self._path)
        if facts is None:
            survey = Survey(self._path)
            while not survey.step(0):
                yield
            facts = survey.facts
        stretch = self._empty(facts, split=self._split)
        yield from self._filled(stretch, facts)
        self.channels = list(stretch.samples)
        self.damaged = stretch.damaged
        if not self._split and facts.channels == 2 and float(abs(stretch.samples).max(initial=0.0)) < _FAINT:
            apart = self._empty(facts, split=True)
            yield from self._filled(apart, facts)
            loudest = max(apart.samples, key=_energy)
            if _energy(loudest) > _CANCELLED * _energy(stretch.samples[0]):
                self.channels = [loudest]

    def _empty(self, facts: Facts, *, split: bool) -> Stretch:
        """The stretch before anything is known of it. Raises `InvalidBody` for too many channels."""
        if split and facts.channels > _MOST_SPLIT:
            raise invalid_audio(
                f"it has {facts.channels} channels, of which at most {_MOST_SPLIT} can be transcribed apart"
            )
        end_ms = facts.total_ms if self._end_ms is None else min(self._end_ms, facts.total_ms)
        start = self._start_ms * RATE // 1000
        length = max(0, end_ms * RATE // 1000 - start)
        return Stretch(start, length, facts.layout if split else None, facts.channels if split else 1)

    def _filled(self, stretch: Stretch, facts: Facts) -> Iterator[None]:
        """Decode into `stretch`; from the recording's beginning, if one cannot get there by seeking."""
        if not stretch.samples.size:
            return
        skip = self._start_ms / 1000 - LEAD
        if facts.steady and skip > 0:
            with Media(self._path) as media:
                if media.seek(skip):
                    decoding = Decoding(media, stretch, facts, sought=True)
                    yield from decoding.steps()
                    if not decoding.late:
                        return
        with Media(self._path) as media:
            yield from Decoding(media, stretch, facts, sought=False).steps()


def _energy(samples: Samples) -> float:
    return float(samples @ samples)
