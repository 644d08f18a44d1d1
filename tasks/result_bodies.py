"""The body of an item's answer: its result, rendered for its endpoint."""

from collections.abc import Callable
from typing import Any

from backends.transcription import TRANSCRIPTIONS, TRANSLATIONS
from store.results import ItemResult
from tasks.embedding_bodies import body_of_embedding
from tasks.formats import Formats
from tasks.transcript_bodies import body_of_transcript


def result_body(endpoint: str, model: str, item: ItemResult, formats: Formats) -> Any:
    """What stands as the body in the line of an item that succeeded: a JSON value, with numpy arrays."""
    return _BODIES[endpoint](endpoint, model, item, formats)


def _embedding(endpoint: str, model: str, item: ItemResult, formats: Formats) -> Any:
    return body_of_embedding(item, model, formats.encoding_format)


def _transcript(endpoint: str, model: str, item: ItemResult, formats: Formats) -> Any:
    return body_of_transcript(item, endpoint, model, formats)


_BODIES: dict[str, Callable[[str, str, ItemResult, Formats], Any]] = {
    "/v1/embeddings": _embedding,
    TRANSCRIPTIONS: _transcript,
    TRANSLATIONS: _transcript,
}
