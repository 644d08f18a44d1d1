"""A transcript told while it is computed: OpenAI's `transcript.text.*` events."""

from collections.abc import Iterable, Sequence
from typing import Any

from api.live import LiveResult, Told
from backends.transcription import TranscriptionRequest
from backends.types import Segment, decode_segments, decode_transcript
from store.results import ItemResult
from tasks.transcripts.formats import diarized_segment, render
from tasks.transcripts.merged import transcript_of


class LiveTranscript(LiveResult):
    """The deltas joined are the text of the end, unless a stretch was heard otherwise at the second time."""

    def __init__(self, request: TranscriptionRequest) -> None:
        self._request = request
        self._told_to: dict[int | None, int] = {}  # milliseconds, by channel
        self._count = 0
        self._has_text = False

    def delta(self, data: bytes) -> Sequence[Told]:
        return self._tell(decode_segments(data))

    def part(self, data: bytes) -> Sequence[Told]:
        return self._tell(decode_transcript(data).segments)

    def end(self, item: ItemResult) -> Sequence[Told]:
        transcript = transcript_of(item.parts)
        done: dict[str, Any] = {
            "type": "transcript.text.done",
            "text": transcript.text,
            "duration": transcript.duration,
        }
        if transcript.language:
            done["languages"] = [{"code": transcript.language}]
        if transcript.warnings:
            done["warnings"] = list(transcript.warnings)
        if self._request.logprobs:
            rendered = render(transcript, "json", self._request)
            done["logprobs"] = rendered["logprobs"] if isinstance(rendered, dict) else None
        return [done]

    def _tell(self, segments: Iterable[Segment]) -> list[Told]:
        told: list[Told] = []
        for segment in segments:
            if segment.start_ms < self._told_to.get(segment.channel, 0):
                continue
            self._told_to[segment.channel] = max(segment.end_ms, segment.start_ms + 1)
            told += self._events_of(segment)
        return told

    def _events_of(self, segment: Segment) -> list[Told]:
        text = segment.text if self._has_text else segment.text.lstrip()
        self._has_text = self._has_text or bool(text)
        delta = {"type": "transcript.text.delta", "delta": text}
        if self._request.response_format != "diarized_json":
            return [delta] if text else []
        whole = diarized_segment(self._count, segment)
        self._count += 1
        return [delta | {"segment_id": whole["id"]}, whole]
