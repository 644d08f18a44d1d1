"""Transcripts as they are answered: one form as it is, several under their names."""

from collections.abc import Sequence
from typing import Any

from backends.transcription import Format, TranscriptionRequest, parse_part
from store.results import ItemResult
from tasks.transcripts.formats import render
from tasks.transcripts.merged import Transcript, transcript_of


def body_of_transcript(item: ItemResult, endpoint: str, model: str, forms: Sequence[Format]) -> Any:
    """The JSON value of a line: an object, or a string for the forms that are text. `forms`, if any, are in
    place of what the item's request asked for."""
    request = parse_part(item.body, endpoint, model=model)
    wanted = tuple(forms) or request.wanted
    transcript = transcript_of(item.parts)
    if len(wanted) == 1 and not (request.formats and not forms):
        return _as_json(transcript, wanted[0], request)
    return {
        "text": transcript.text,
        "formats": {form: _as_json(transcript, form, request) for form in wanted},
    }


def transcript_body(parts: Sequence[bytes], request: TranscriptionRequest) -> bytes | dict[str, Any]:
    """The body of the reply to a call that asks for one form."""
    return render(transcript_of(parts), request.response_format, request)


def _as_json(transcript: Transcript, form: Format, request: TranscriptionRequest) -> Any:
    rendered = render(transcript, form, request)
    return rendered.decode() if isinstance(rendered, bytes) else rendered
