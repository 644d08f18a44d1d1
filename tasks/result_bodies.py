"""The body of an item's answer: its result, rendered for its endpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backends.embeddings import EncodingFormat
from backends.transcription import TRANSCRIPTIONS, TRANSLATIONS, Format
from store.results import ItemResult
from tasks.embedding_bodies import body_of_embedding
from tasks.transcript_bodies import body_of_transcript


@dataclass(frozen=True, kw_only=True)
class Formats:
    """In which formats results are wanted in place of what each request asked for; by default as it asked."""

    encoding_format: EncodingFormat | None = None
    transcripts: tuple[Format, ...] = ()


AS_ASKED = Formats()


def result_body(endpoint: str, model: str, item: ItemResult, formats: Formats) -> Any:
    """What stands as the body in the line of an item that succeeded: a JSON value, with numpy arrays."""
    return _BODIES[endpoint](endpoint, model, item, formats)


def _embedding(endpoint: str, model: str, item: ItemResult, formats: Formats) -> Any:
    return body_of_embedding(item, model, formats.encoding_format)


def _transcript(endpoint: str, model: str, item: ItemResult, formats: Formats) -> Any:
    return body_of_transcript(item, endpoint, model, formats.transcripts)


_BODIES: dict[str, Callable[[str, str, ItemResult, Formats], Any]] = {
    "/v1/embeddings": _embedding,
    TRANSCRIPTIONS: _transcript,
    TRANSLATIONS: _transcript,
}
