"""How long a recording is, and whether it is one: found by reading through its packets, without decoding."""

from collections.abc import Iterator

from av.audio.frame import AudioFrame

from backends.audio.errors import empty_audio, encrypted_audio, invalid_audio
from backends.audio.media import FEWEST_HERTZ, MOST_HERTZ, Media, Packet
from backends.audio.promises import is_cut_inside, promised_seconds
from backends.audio.stepping import Stepwise
from backends.audio.timeline import Facts, Timeline, remember

# Seconds that a header may be wrong by, and the last picture may stand.
_SLACK, _SLACK_WITH_PICTURE = 0.25, 2.0


class Survey(Stepwise):
    """Call `step` until it is done; then `facts`, or what of them is wanted, may be read. Memory is flat."""

    facts: Facts

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def total_ms(self) -> int:
        """The recording's length in milliseconds, as far as it can be read."""
        return self.facts.total_ms

    @property
    def channels(self) -> int:
        return self.facts.channels

    @property
    def truncated(self) -> bool:
        """The file promises more than it has."""
        return self.facts.truncated

    @property
    def damaged(self) -> bool:
        """Packets in the middle of the file could not be read."""
        return self.facts.damaged

    def _stretches(self) -> Iterator[None]:
        with Media(self._path) as media:
            timeline = Timeline(media)
            first: AudioFrame | None = None
            first_byte: int | None = None
            end_of_all = 0.0
            for packet in media.packets(of_all_streams=True):
                if packet.stream.index != media.stream.index:
                    end_of_all = max(end_of_all, _end(packet, media))
                else:
                    first_byte = packet.pos if first_byte is None else first_byte
                    timeline.place(packet)
                    first = first or _decoded(media, packet)
                yield
            self.facts = _facts(media, timeline, first, first_byte, end_of_all)
        remember(self._path, self.facts)


def _facts(
    media: Media, timeline: Timeline, first: AudioFrame | None, first_byte: int | None, end_of_all: float
) -> Facts:
    """What follows once all is read. Raises `InvalidBody` where nothing can be transcribed."""
    if first_byte is None:
        raise empty_audio("the recording has no sound in it")
    if first is None:
        raise invalid_audio("nothing of its sound can be decoded")
    if not FEWEST_HERTZ <= first.sample_rate <= MOST_HERTZ:
        raise invalid_audio(f"its sampling rate is {first.sample_rate} Hz")
    total_ms = round(timeline.end * 1000)
    if total_ms <= 0:
        raise empty_audio("the recording is 0 seconds long")
    promised = promised_seconds(media, first_byte)
    slack = _SLACK_WITH_PICTURE if media.has_picture else _SLACK
    short = promised is not None and promised - max(timeline.end, end_of_all) > slack
    return Facts(
        total_ms=total_ms,
        channels=first.layout.nb_channels,
        layout=first.layout.name,
        truncated=short or is_cut_inside(media.path, media.format),
        damaged=(media.damaged and not short) or (timeline.steady and timeline.lost > 0),
        steady=timeline.steady,
    )


def _decoded(media: Media, packet: Packet) -> AudioFrame | None:
    """The first sound in `packet`, None where there is none. Raises `InvalidBody` if it is encrypted."""
    if packet.has_sidedata("encryption_info"):
        raise encrypted_audio()
    return next((frame for frame in media.decoded(packet) or [] if frame.samples), None)


def _end(packet: Packet, media: Media) -> float:
    """Where a packet of any stream ends, in seconds from the recording's beginning."""
    if packet.pts is None or not packet.time_base:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base) - media.origin
