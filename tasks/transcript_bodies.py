"""Transcripts as they are answered: one form as it is, several under their names, or in a zip for a call."""

from collections.abc import Sequence
from typing import Any

from backends.transcription import Format, TranscriptionRequest, parse_part
from store.results import ItemResult
from tasks.transcripts.formats import MEDIA_TYPES, render
from tasks.transcripts.merged import Transcript, transcript_of

ZIP = "application/zip"


def body_of_transcript(item: ItemResult, endpoint: str, model: str, forms: Sequence[Format]) -> Any:
    """The JSON value of a line: an object, or a string for the forms that are text; for several forms an
    object of them. `forms`, if any, are in place of what the item's request asked for."""
    request = parse_part(item.body, endpoint, model=model)
    transcript = transcript_of(item.parts)
    several = forms or request.formats
    if len(forms) == 1 or not several:
        return _as_json(transcript, forms[0] if forms else request.response_format, request)
    return {
        "text": transcript.text,
        "formats": {form: _as_json(transcript, form, request) for form in several},
    }


def transcript_body(parts: Sequence[bytes], request: TranscriptionRequest, name: str) -> Any:
    """The body of the reply to a call: bytes, or an object. `name` is that of the recording."""
    transcript = transcript_of(parts)
    if request.formats:
        from tasks.transcripts.archive import zip_of  # type: ignore[import-untyped]

        rendered = {form: render(transcript, form, request) for form in request.formats}
        return b"".join(zip_of([(name, rendered)]))
    return render(transcript, request.response_format, request)


def media_type_of(request: TranscriptionRequest) -> str:
    return ZIP if request.formats else MEDIA_TYPES[request.response_format]


def _as_json(transcript: Transcript, form: Format, request: TranscriptionRequest) -> Any:
    rendered = render(transcript, form, request)
    return rendered.decode() if isinstance(rendered, bytes) else rendered
