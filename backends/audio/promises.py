"""How long a file says that it is: told from what its headers hold, for it may have been cut since.

FFmpeg's duration is a promise of the header in some formats, and in others an estimate from the file's size
or the place of its last packet, from which nothing follows.
"""

import os
import struct
from pathlib import Path

from backends.audio.media import Media

_NO_PROMISE = frozenset(
    ("aac", "ac3", "amr", "asf", "dts", "eac3", "gsm", "loas", "mpeg", "mpegts", "ogg", "w64", "wav")
)
_STREAMED = 0x7FFF_0000  # sizes from here on stand for 'not known' in wavs that were written to a pipe
_LONGEST_RIFF_HEAD = 1 << 20
_LONGEST_OGG_PAGE = 65_307  # 27 + 255 + 255 * 255 bytes (RFC 3533)
_LONGEST_MP3_FRAME = 2_881  # bytes
# Formats that may hold PCM and not say how long it is, and by which part a length may miss FFmpeg's estimate.
_ESTIMATED, _NEAR = frozenset(("avi", "matroska,webm", "voc")), 0.005
_XING_AT = (36, 21, 13)  # from a frame's first byte: MPEG-1, its mono and MPEG-2, MPEG-2 mono
_VBRI_AT = (36,)


def promised_seconds(media: Media, first_byte: int | None) -> float | None:
    """Seconds that the header promises, None where it promises nothing. `first_byte`: of the first packet."""
    if media.format in _NO_PROMISE:
        return None
    if media.format == "mp3" and not _has_length_frame(media.path, first_byte):
        return None
    return None if media.seconds is None or _is_estimate(media) else media.seconds - max(0.0, media.origin)


def _is_estimate(media: Media) -> bool:
    """True where FFmpeg's length seems to be the file's size over the bit rate, as if all were sound."""
    codec = media.stream.codec_context
    if media.format not in _ESTIMATED or not codec.bit_rate or "pcm_" not in codec.name:
        return False
    estimate = os.path.getsize(media.path) * 8 / codec.bit_rate
    return abs(estimate - (media.seconds or 0.0)) <= _NEAR * estimate


def is_cut_inside(path: str, form: str) -> bool:
    """True if the file ends in the middle of what it has begun to say (wav, ogg)."""
    if form == "wav":
        return _wav_is_cut(Path(path))
    return form == "ogg" and _ogg_is_cut(Path(path))


def _has_length_frame(path: str, first_byte: int | None) -> bool:
    """True if a frame with the number of frames (Xing, Info, VBRI) stands before the first of an mp3."""
    if not first_byte or first_byte < 0:
        return False
    start = max(0, first_byte - _LONGEST_MP3_FRAME)
    with Path(path).open("rb") as file:
        file.seek(start)
        before = file.read(first_byte - start)
    for name, places in ((b"Xing", _XING_AT), (b"Info", _XING_AT), (b"VBRI", _VBRI_AT)):
        at = before.rfind(name)
        if any(at >= back and before[at - back] == 0xFF and before[at - back + 1] >= 0xE0 for back in places):
            return True
    return False


def _wav_is_cut(path: Path) -> bool:
    """True if the `data` chunk of a RIFF file is longer than what follows it."""
    size = os.path.getsize(path)
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":  # RF64 and RIFX are rare
            return False
        at = 12
        while at + 8 <= min(size, _LONGEST_RIFF_HEAD):
            file.seek(at)
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"data":
                return bool(0 < length < _STREAMED and at + 8 + length > size)
            at += 8 + length + length % 2
    return False


def _ogg_is_cut(path: Path) -> bool:
    """True if the last page of an Ogg file is not whole (RFC 3533, section 6)."""
    size = os.path.getsize(path)
    with path.open("rb") as file:
        file.seek(max(0, size - _LONGEST_OGG_PAGE))
        tail = file.read()
    at = tail.rfind(b"OggS\0")
    if at < 0:
        return True
    table = tail[at + 27 : at + 27 + tail[at + 26]] if at + 27 <= len(tail) else b""
    whole = at + 27 <= len(tail) and len(table) == tail[at + 26]
    return not whole or at + 27 + len(table) + sum(table) > len(tail)
