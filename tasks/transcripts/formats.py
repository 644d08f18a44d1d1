"""A transcript in each of its forms."""

from typing import Any

from backends.transcription import Format, TranscriptionRequest
from tasks.transcripts.merged import Transcript


def render(transcript: Transcript, form: Format, request: TranscriptionRequest) -> bytes | dict[str, Any]:
    """JSON forms as an object, the others as the bytes of a text file."""
    if form in ("json", "verbose_json", "diarized_json"):
        return {"text": transcript.text, "usage": {"type": "duration", "seconds": transcript.duration}}
    return transcript.text.encode() + b"\n"
