"""A media file as FFmpeg opens it, for reading its speech: which formats, which stream, where time begins.

FFmpeg can do much more than read a recording. A playlist, for instance, makes it open other files and URLs:
so formats and protocols are named here, one by one, and only audio decoders may run.
"""

import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.codec import UnknownCodecError
from av.stream import Discard

from backends.audio.errors import empty_audio, invalid_audio, no_audio_stream

# FFmpeg's names of demuxers. None of them opens another file.
FORMATS = (
    *("aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dts", "eac3", "flac", "flv", "gsm"),
    *("loas", "matroska", "mov", "mp3", "mpeg", "mpegts", "mxf", "ogg", "tak", "tta", "voc", "w64", "wav"),
    "wv",
)

if TYPE_CHECKING:
    Packet = av.Packet[Any]
else:
    Packet = av.Packet  # which is generic for type checkers alone

FEWEST_HERTZ, MOST_HERTZ = 1_000, 768_000  # sampling rates that are no mistake
# Formats in which FFmpeg computes the place of a moment from a rate of bytes. For PCM that is exact, for
# other codecs as exact as the header: after minutes it may be a second off.
_SOUGHT_BY_RATE = frozenset(("wav", "w64"))
_MOST_ERRORS_IN_A_ROW = 64  # a cut file fails once per packet that its index promises
_LONGEST_OFFSET = 3600.0  # seconds that sound may begin after the picture does


@cache
def _audio_decoders() -> str:
    """The names of FFmpeg's audio decoders: those of pictures need not meet a stranger's bytes."""
    names = []
    for name in sorted(av.codecs_available):
        try:
            codec = av.Codec(name, "r")
        except UnknownCodecError:  # an encoder
            continue
        if codec.type == "audio":
            names.append(name)
    return ",".join(names)


class Media:
    """An open file and its best audio stream.

    `origin` is the moment, in seconds of the file's own clock, from which positions count: where the file
    begins to play, so that captions fit its picture. `tick` is the unit of the stream's clock in seconds.
    `damaged` becomes true when packets could not be read.
    """

    def __init__(self, path: str) -> None:
        """Raises `InvalidBody` (not a recording, no audio stream, empty) or what FFmpeg raises."""
        if os.path.exists(path) and not os.path.getsize(path):
            raise empty_audio("the file has no bytes")
        options = {
            "format_whitelist": ",".join(FORMATS),
            "protocol_whitelist": "file",
            "codec_whitelist": _audio_decoders(),
        }
        self.path = path
        self.damaged = False
        try:
            self._container = av.open(f"file:{path}", options=options, metadata_errors="ignore")
        except av.error.InvalidDataError:
            if _lacks_index(path):
                raise invalid_audio("it ends before its index, without which an mp4 cannot be read") from None
            raise
        try:
            self.stream = self._best_stream()
            self.tick = float(self.stream.time_base or 0)
            if self.tick <= 0:
                raise invalid_audio("it has no clock")
        except BaseException:
            self._container.close()
            raise
        self.origin = self._origin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def format(self) -> str:
        """FFmpeg's name of the format; one that has several has them in a row (mov,mp4,m4a…)."""
        return self._container.format.name

    @property
    def seconds(self) -> float | None:
        """How long the file says that it plays, None where it says nothing."""
        duration = self._container.duration
        return None if duration is None else duration / av.time_base

    @property
    def has_picture(self) -> bool:
        return any(stream.type == "video" for stream in self._container.streams)

    def packets(self, *, of_all_streams: bool = False) -> Iterator[Packet]:
        """What is left to read, in the file's order; of the audio stream alone, if not said otherwise.
        Goes on after what cannot be read."""
        if not of_all_streams:
            for stream in self._container.streams:
                stream.discard = Discard.default if stream is self.stream else Discard.all
        streams = list(self._container.streams) if of_all_streams else [self.stream]
        errors = 0
        while errors < _MOST_ERRORS_IN_A_ROW:
            try:
                for packet in self._container.demux(streams):
                    if packet.size:  # an empty one stands for the end
                        errors = 0
                        yield packet
                return
            except IndexError:  # PyAV 18.1 at the end of a file in which a stream has turned up on the way
                return
            except av.error.FFmpegError:
                self.damaged = True
                errors += 1

    def decoded(self, packet: Packet | None) -> list[AudioFrame] | None:
        """The sound in a packet of `stream` (None: what the decoder has kept back), None where it is damaged.

        Never look at the `planes` of a frame, nor make it an array: with eight planes and more PyAV 18.1
        reads behind the last one and crashes. `Mixer` makes one plane of them first.
        """
        try:
            return self.stream.codec_context.decode(packet)
        except (av.error.FFmpegError, ValueError):
            return None

    def seek(self, seconds: float) -> bool:
        """Go on about there or before, counted from `origin`; false where the file cannot, or not exactly."""
        if self.format in _SOUGHT_BY_RATE and not self.stream.codec_context.name.startswith("pcm_"):
            return False
        try:
            self._container.seek(int((seconds + self.origin) / self.tick), stream=self.stream)
        except (av.error.FFmpegError, OverflowError):
            return False
        return True

    def _best_stream(self) -> AudioStream:
        streams = self._container.streams
        if not streams.audio:
            raise no_audio_stream()
        best = streams.best("audio")
        chosen = best if isinstance(best, AudioStream) else streams.audio[0]
        if chosen.codec_context is None:
            raise invalid_audio("there is no decoder for its kind of audio")
        chosen.codec_context.thread_count = 1  # the engine's cores are its own
        if chosen.codec_context.name == "flac":  # it has checksums: what fails them would be loud noise
            chosen.codec_context.options = {"err_detect": "crccheck+explode"}
        return chosen

    def _origin(self) -> float:
        start = self.stream.start_time
        own = 0.0 if start is None else start * self.tick
        whole = self._container.start_time
        first = own if whole is None else whole / av.time_base
        return first if 0 <= own - first <= _LONGEST_OFFSET else own


def _lacks_index(path: str) -> bool:
    """True for an mp4 (ISO 14496-12) of which FFmpeg says that it makes no sense: mostly a recording that was
    not finished, or cut on its way."""
    with open(path, "rb") as file:
        return file.read(8)[4:] == b"ftyp"
