"""`/v1/audio/*`: recordings to text. A recording is the file of a form, an uploaded file or a URL."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

from fastapi import APIRouter, Request, Response

from api.call_bodies import CallBody, FormRules
from api.calls import Call, answer_call
from api.file_store import find_file
from api.openapi import describes_call
from api.schemas.audio import FORM_KINDS, TRANSCRIPTION_FORM, TranscriptionBody, TranscriptObject
from api.services import Services
from api.transcripts_live import LiveTranscript
from backends.spoken_languages import check_languages
from backends.transcription import TRANSCRIPTIONS, TRANSLATIONS, TranscriptionRequest, parse_request, piece
from configs.models import ModelSpec
from configs.settings import Settings
from store.results import ItemResult
from tasks.render import render_answer
from tasks.submit import Caller
from tasks.transcript_bodies import media_type_of, transcript_body

SECONDS_PER_BYTE = 3e-6  # of a small model on one core, of audio at 128 kbit/s
UNKNOWN_SECONDS = 10.0  # where the bytes are not at hand

router = APIRouter()

FORM = FormRules(file_field="file", kinds=FORM_KINDS, limit=lambda settings: settings.max_audio_bytes)
DESCRIBED = describes_call(body=TranscriptionBody, form=TRANSCRIPTION_FORM, reply=TranscriptObject)


@router.post(TRANSCRIPTIONS, openapi_extra=DESCRIBED)
async def create_transcription(request: Request) -> Response:
    """Queue a recording as a job of one item; where it is long, the engine cuts it into parts."""
    return await answer_call(request, TRANSCRIPTIONS, partial(TranscriptionCall.parse, TRANSCRIPTIONS), FORM)


@router.post(TRANSLATIONS, openapi_extra=DESCRIBED)
async def create_translation(request: Request) -> Response:
    """As a transcription, in English. Raises `InvalidBody` where the model cannot translate."""
    return await answer_call(request, TRANSLATIONS, partial(TranscriptionCall.parse, TRANSLATIONS), FORM)


@dataclass(frozen=True, kw_only=True)
class TranscriptionCall(Call):
    asked: TranscriptionRequest
    name: str

    @classmethod
    def parse(cls, endpoint: str, body: CallBody, settings: Settings) -> Self:
        """Raises `InvalidBody`."""
        file = body.file
        asked = parse_request(body.json, endpoint, attached=file is not None)
        return cls(
            asked=asked,
            name=body.filename or asked.file_id or asked.url or "",
            model=asked.model,
            bodies=[body.json if file is None else piece(body.json, (file.name, body.filename))],
            expected_seconds=UNKNOWN_SECONDS if file is None else SECONDS_PER_BYTE * file.size_bytes,
            renders_slowly=True,
            media_type=media_type_of(asked),
            live=LiveTranscript(asked) if asked.stream else None,
        )

    def check(self, spec: ModelSpec) -> None:
        """Where the spec says which languages its model knows; else its engine checks."""
        known = spec.options.get("languages")
        if known is None:
            return
        language = self.asked.language or spec.defaults.get("language")
        check_languages(self.asked.task, language, known, translates=known != ["en"])

    async def measured(self, services: Services, caller: Caller) -> Self:
        """By the size of an uploaded file. Raises `ApiError` (file_not_found)."""
        if self.asked.file_id is None:
            return self
        file = await find_file(services, caller, self.asked.file_id, param="file_id")
        return replace(self, name=file.filename, expected_seconds=SECONDS_PER_BYTE * file.size_bytes)

    def render(self, item: ItemResult, spec: ModelSpec) -> bytes:
        return render_answer(item, self._body_of)

    def _body_of(self, parts: Sequence[bytes]) -> Any:
        return transcript_body(parts, self.asked, self.name)
