"""Captions as files: SubRip, WebVTT and LRC.

Caption texts have neither line breaks nor blank lines in them (`captions.py`). What a reader would take for
a time line or for markup is written so that it does not. Where channels are apart, each caption names its
speaker: as a voice in WebVTT, before the text in the others.
"""

import re
from collections.abc import Sequence
from html import escape

from tasks.transcripts.captions import Caption
from tasks.transcripts.merged import speaker_name

_ARROW = re.compile(r"-{2,}>")


def srt(captions: Sequence[Caption]) -> str:
    """SubRip: it has no escapes, so that an arrow loses its dashes but one."""
    blocks = []
    for number, caption in enumerate(captions, start=1):
        times = f"{_clock(caption.start_ms, ',')} --> {_clock(caption.end_ms, ',')}"
        text = _speaker(caption) + _ARROW.sub("->", "\n".join(caption.lines))
        blocks.append(f"{number}\n{times}\n{text}\n")
    return "\n".join(blocks)


def vtt(captions: Sequence[Caption]) -> str:
    """WebVTT (W3C)."""
    blocks = ["WEBVTT\n"]
    for caption in captions:
        times = f"{_clock(caption.start_ms, '.')} --> {_clock(caption.end_ms, '.')}"
        text = escape("\n".join(caption.lines), quote=False)
        voice = "" if caption.channel is None else f"<v {speaker_name(caption.channel)}>"
        blocks.append(f"{times}\n{voice}{text}\n")
    return "\n".join(blocks)


def lrc(captions: Sequence[Caption]) -> str:
    """LRC: a line per caption with the time at which it begins, in hundredths. Minutes go beyond 60."""
    texts = (_speaker(caption) + " ".join(caption.lines) for caption in captions)
    return "".join(
        f"[{_minutes(caption.start_ms)}]{text}\n" for caption, text in zip(captions, texts, strict=True)
    )


def _speaker(caption: Caption) -> str:
    return "" if caption.channel is None else f"{speaker_name(caption.channel)}: "


def _clock(time_ms: int, point: str) -> str:
    minutes, ms = divmod(time_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{point}{ms % 1000:03}"


def _minutes(time_ms: int) -> str:
    minutes, ms = divmod(time_ms, 60_000)
    return f"{minutes:02}:{ms // 1000:02}.{ms % 1000 // 10:02}"
