"""An item's transcript, put together from those of its parts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from backends.types import Segment, TranscriptResult, decode_result

NO_SPEECH = "no_speech"


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What was said in a recording: segments by start, over all channels.

    `language` is a code (en), None where nothing was heard. `duration` is the recording's, in seconds.
    `warnings` are those of `TranscriptResult`; no_speech: there is no text, as nobody speaks.
    """

    segments: tuple[Segment, ...]
    language: str | None
    duration: float
    warnings: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


def transcript_of(parts: Sequence[bytes]) -> Transcript:
    """The transcript of an item; `parts` are its results as they are stored, in any order."""
    results = [_read(part) for part in parts]
    found = [segment for result in results for segment in result.segments]
    segments = tuple(sorted(found, key=lambda segment: (segment.start_ms, segment.channel or 0)))
    total_ms = next((result.total_ms for result in results if result.total_ms is not None), None)
    if total_ms is None:
        total_ms = max((result.end_ms for result in results), default=0)
    warnings = dict.fromkeys(code for result in results for code in result.warnings)
    warnings.pop(NO_SPEECH, None)  # of one stretch; the others may have speech
    if not any(segment.text.strip() for segment in segments):
        warnings[NO_SPEECH] = None
    return Transcript(
        segments=segments, language=_language(results), duration=total_ms / 1000, warnings=tuple(warnings)
    )


def speaker_name(channel: int) -> str:
    """What a speaker is called who is told from others by the channel; channels count from 0."""
    return f"channel_{channel}"


def _read(part: bytes) -> TranscriptResult:
    result = decode_result(part)
    if not isinstance(result, TranscriptResult):
        raise TypeError(f"a transcript is made of transcripts, not of {type(result).__name__}")
    return result


def _language(results: Sequence[TranscriptResult]) -> str | None:
    """The one in which most is said: a stretch of few words may have been taken for another."""
    said: Counter[str] = Counter()
    for result in results:
        if result.language is not None:
            said[result.language] += 1 + sum(len(segment.text) for segment in result.segments)
    return said.most_common(1)[0][0] if said else None
