"""Decoded frames as Whisper wants them: float32 at 16 kHz, all channels mixed into one or each apart.

FFmpeg's resampler does it, through PyAV. It is asked for packed samples (one plane): planes of eight channels
and more crash PyAV 18.1. Two channels it mixes as well; of more it would leave out the one that it takes for
deep bass, and a voice may be there.
"""

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame

from backends.audio.media import FEWEST_HERTZ, MOST_HERTZ
from backends.whisper.window import RATE, Samples


class Unmixable(ValueError):
    """A frame that the resampler does not take."""


class Mixer:
    """Resamples frames of one kind that follow each other, about a second at a time: frames are as short as
    20 ms, and each call costs as much as decoding one."""

    def __init__(self, kind: AudioFrame, layout: str | None) -> None:
        """`layout` is FFmpeg's name of the channels that come out, None: all mixed into one.

        Raises `Unmixable` for a sampling rate that is a mistake.
        """
        if not FEWEST_HERTZ <= kind.sample_rate <= MOST_HERTZ:
            raise Unmixable(f"{kind.sample_rate} Hz")
        self._kind = kind.sample_rate, kind.format.name, kind.layout.name
        self._held = av.AudioFifo()
        self._mixing = layout is None
        if layout is None:
            layout = "mono" if kind.layout.nb_channels <= 2 else kind.layout.name
        self._channels = av.AudioLayout(layout).nb_channels
        self._resampler = av.AudioResampler(format="flt", layout=layout, rate=RATE)

    def takes(self, frame: AudioFrame) -> bool:
        """True if `frame` is of the kind that this mixer was made for: files may change it on the way."""
        return (frame.sample_rate, frame.format.name, frame.layout.name) == self._kind

    def mixed(self, frame: AudioFrame | None) -> Samples:
        """What comes out once `frame` (None: the end) is in, shape (channels, n). Raises `Unmixable`."""
        try:
            if frame is not None:
                frame.pts = None  # who places the samples is neither of the two
                self._held.write(frame)
            if frame is None or self._held.samples >= frame.sample_rate:
                held = self._held.read()
                frames = self._resampler.resample(held) if held is not None else []
            else:
                frames = []
            if frame is None:
                frames += self._resampler.resample(None)
        except (av.error.FFmpegError, ValueError) as error:
            raise Unmixable(str(error)) from error
        packed = [part.to_ndarray().reshape(-1, self._channels) for part in frames if part and part.samples]
        samples = np.concatenate([np.empty((0, self._channels), dtype=np.float32), *packed])
        if self._mixing and self._channels > 1:
            samples = samples.mean(axis=1, dtype=np.float32, keepdims=True)
        return np.asarray(samples.T, dtype=np.float32)
