"""Segments and transcripts to be rendered."""

from typing import Any

from backends.transcription import TranscriptionRequest
from backends.types import Segment, TranscriptResult, Word, encode_result
from tasks.transcripts.merged import Transcript, transcript_of


def segment(start_ms: int, end_ms: int, text: str, **more: Any) -> Segment:
    usual: dict[str, Any] = {
        "tokens": [314, 1842],
        "seek_ms": 0,
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 1.5,
        "no_speech_prob": 0.01,
    }
    return Segment(start_ms=start_ms, end_ms=end_ms, text=text, **usual | more)


def words(*timed: tuple[int, int, str]) -> list[Word]:
    return [Word(start, end, text) for start, end, text in timed]


def part(start_ms: int, end_ms: int, *segments: Segment, **more: Any) -> bytes:
    return encode_result(TranscriptResult(start_ms, end_ms, list(segments), **more))


def transcript(*segments: Segment, total_ms: int = 10_000, **more: Any) -> Transcript:
    return transcript_of([part(0, total_ms, *segments, total_ms=total_ms, **{"language": "en"} | more)])


def request(**fields: Any) -> TranscriptionRequest:
    return TranscriptionRequest(model="m", **fields)
