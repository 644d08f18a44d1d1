"""A stretch of a recording, put together from decoded frames: each at its place, silence elsewhere."""

import numpy as np
from av.audio.frame import AudioFrame

from backends.audio.mixing import Mixer, Unmixable
from backends.whisper.window import RATE, Samples

_DRIFT = 0.1  # seconds by which frames in a row may miss their time stamps: coarse clocks are no gaps
_USUAL = 0.999  # of a stretch's samples are no louder than what counts as its loudness: a few may be damage
MARGIN = 0.05  # seconds around the stretch that the resampler's filter may look at


class Stretch:
    """`samples` has shape (channels, length) and begins `start` samples (at 16 kHz) into the recording.
    `damaged` turns true for frames that cannot be used, and for samples that are no numbers."""

    def __init__(self, start: int, length: int, layout: str | None, channels: int) -> None:
        """`layout`: FFmpeg's name of the channels, None: all of them mixed into one."""
        self.samples: Samples = np.zeros((channels, length), dtype=np.float32)
        self.damaged = False
        self._start = start
        self._layout = layout
        self._mixer: Mixer | None = None
        self._expected = 0.0  # seconds, where the next frame begins if it follows the last one
        self._at = 0  # where the next sample goes

    @property
    def begin(self) -> float:
        """Seconds into the recording from which frames are of use."""
        return self._start / RATE - MARGIN

    @property
    def end(self) -> float:
        """Seconds into the recording up to which frames are of use."""
        return (self._start + int(self.samples.shape[1])) / RATE + MARGIN

    def add(self, frame: AudioFrame, seconds: float) -> None:
        """Put `frame` where it begins, `seconds` into the recording."""
        try:
            if self._mixer is None or not self._mixer.takes(frame) or abs(seconds - self._expected) > _DRIFT:
                self.finish()
                self._mixer = Mixer(frame, self._layout)
                self._expected = seconds
                self._at = round(seconds * RATE) - self._start
            self._expected += frame.samples / frame.sample_rate
            self._write(self._mixer.mixed(frame))
        except Unmixable:
            self._mixer = None
            self.damaged = True

    def finish(self) -> None:
        """Write what the resampler has kept back."""
        mixer, self._mixer = self._mixer, None
        if mixer is None:
            return
        try:
            self._write(mixer.mixed(None))
        except Unmixable:
            self.damaged = True

    def clean(self) -> None:
        """Make everything a number in [-1, 1]: float files may hold anything, also speech that is louder."""
        if not np.isfinite(self.samples).all():
            self.damaged = True
            np.nan_to_num(self.samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if self.samples.max(initial=0.0) > 1.0 or self.samples.min(initial=0.0) < -1.0:
            usual = float(np.quantile(np.abs(self.samples), _USUAL))
            if usual > 1.0:
                self.samples /= usual
        np.clip(self.samples, -1.0, 1.0, out=self.samples)

    def _write(self, mixed: Samples) -> None:
        length = self.samples.shape[1]
        first, last = max(self._at, 0), min(self._at + mixed.shape[1], length)
        if first < last:
            self.samples[:, first:last] = mixed[:, first - self._at : last - self._at]
        self._at += mixed.shape[1]
