"""What parts are about: from the names in their bodies to files that an engine may read.

A caller's body names an uploaded file or a URL, a piece names the blob that its item's first part was about.
What cannot be found is that item's own error.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from backends import transcription
from backends.errors import InvalidBody
from backends.registry import FAMILIES
from backends.transcription import TranscriptionRequest
from backends.types import ErrorInfo, Source
from configs.models import ModelSpec
from store import attachments, files
from store.attachments import NamedBlob
from store.blobs import Blobs
from store.chunks import Claim
from store.items import ClaimedPart


class Wanted(NamedTuple):
    """Bytes that have to be fetched first."""

    url: str


Found = Source | Wanted | ErrorInfo


def hears(spec: ModelSpec) -> bool:
    """Whether a model computes recordings."""
    return any(endpoint in transcription.ENDPOINTS for endpoint in FAMILIES[spec.family].endpoints)


def find_sources(
    conn: psycopg.Connection[Any], blobs: Blobs, claim: Claim, spec: ModelSpec, parts: Sequence[ClaimedPart]
) -> dict[int, Found]:
    """What each of a chunk's parts is about, by number; nothing where the endpoint's bodies say it all.

    Raises DatabaseUnavailable.
    """
    if claim.endpoint not in transcription.ENDPOINTS:
        return {}
    asked = {part.n: _read(part.body, claim, spec) for part in parts}
    requests = {n: request for n, request in asked.items() if isinstance(request, TranscriptionRequest)}
    file_ids = [request.file_id for request in requests.values() if request.file_id is not None]
    with_url = [n for n, request in requests.items() if request.url is not None]
    uploaded = files.blobs_of(conn, claim.project_id, file_ids) if file_ids else {}
    fetched = attachments.fetched(conn, claim.job_id, with_url) if with_url else {}
    found: dict[int, Found] = {n: error for n, error in asked.items() if isinstance(error, ErrorInfo)}
    for n, request in requests.items():
        found[n] = _find(blobs, request, uploaded, fetched.get(n))
    return found


def source_of(blobs: Blobs, blob: str, name: str) -> Source | ErrorInfo:
    """A blob as a file to read; an error where it is gone."""
    try:
        path = blobs.path(blob)
    except ValueError:
        return _gone(f"'{blob}' is no name of a blob")
    return Source(path=str(path), blob=blob, name=name) if path.is_file() else _gone("it is no longer kept")


def _read(body: bytes, claim: Claim, spec: ModelSpec) -> TranscriptionRequest | ErrorInfo:
    """The request, or what is wrong with it: nothing is fetched for one that will be refused."""
    try:
        request = transcription.parse_part(body, claim.endpoint, model=spec.name, defaults=spec.defaults)
    except InvalidBody as error:
        return ErrorInfo(error.code, error.message, error.param)
    if request.stream and not claim.streamed:  # a retry of a streamed call is a job
        message = "'stream' is for single calls: an item of a job or a batch has no reply of its own"
        return ErrorInfo("invalid_value", message, "stream")
    return request


def _find(
    blobs: Blobs, request: TranscriptionRequest, uploaded: Mapping[str, NamedBlob], fetched: NamedBlob | None
) -> Found:
    if request.attachment is not None:
        return source_of(blobs, *request.attachment)
    if request.url is not None:
        found = source_of(blobs, *fetched) if fetched is not None else None
        return found if isinstance(found, Source) else Wanted(request.url)
    blob = uploaded.get(request.file_id or "")
    if blob is None:
        return ErrorInfo("file_not_found", f"there is no file '{request.file_id}'", "file_id")
    return source_of(blobs, *blob)


def _gone(why: str) -> ErrorInfo:
    return ErrorInfo("file_not_found", f"the recording is not there: {why}", "file")
