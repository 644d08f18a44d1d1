"""Results as they are read: rendered on every read from their compact form, to the same bytes every time.

An output line is OpenAI's: `{"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error"}`.
A line that got an HTTP error has that status and an error envelope as its body; one that never ran, or
at which its engine ended, has `"response": null` and an `error`.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import orjson
from psycopg import Connection

from backends.embeddings import EncodingFormat
from backends.types import ErrorInfo, decode_embedding, decode_error
from configs.error_codes import type_of
from store import results
from store.jobs import JobRow
from store.results import UNFINISHED, ItemResult
from store.states import JobState
from tasks.merging import outcomes

Which = Literal["output", "error"]

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE

LineError = dict[str, str]

EXPIRED: LineError = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}
CANCELLED: LineError = {
    "code": "batch_cancelled",
    "message": "The batch was cancelled before this request was executed.",
}

# The ends of an item whose engine did not live to answer it.
_NO_RESPONSE = frozenset({"engine_crashed", "engine_timeout"})
# Why an item of a job in this state has no result. A job that is being settled counts as settled, so that
# the size that is counted then is the size that is read later.
_NEVER_RAN = {JobState.CANCELLING: CANCELLED, JobState.CANCELLED: CANCELLED, JobState.EXPIRED: EXPIRED}


class _Asked(msgspec.Struct):
    """What a request says about the form of its result."""

    encoding_format: EncodingFormat | None = None


_read_asked = msgspec.json.Decoder(_Asked).decode


def render_lines(conn: Connection[Any], job: JobRow, *, which: Which) -> Iterator[bytes]:
    """The lines of a job's output file (items that succeeded) or error file (all others), newlines included.

    Raises `DatabaseUnavailable`.
    """
    why = _NEVER_RAN.get(JobState(job.state)) if which == "error" else None
    for item in results.iter_results(conn, job.id, errors=which == "error", unfinished=why is not None):
        yield _line(job, item, None, why) if item.status == UNFINISHED else render_line(job, item)


def render_results(
    conn: Connection[Any],
    job: JobRow,
    *,
    after: int | None = None,
    include_retries: bool = False,
    encoding_format: EncodingFormat | None = None,
) -> Iterator[bytes]:
    """The lines of the items that have a result by now, errors too, in order of items.

    With `after` those behind that number, as far as none between them is still to come: whoever goes on
    after the last line misses nothing. Raises `DatabaseUnavailable`.
    """
    for found in outcomes(conn, job, after=after, include_retries=include_retries):
        if found.is_open and after is not None:
            return
        if found.item.status != UNFINISHED:
            yield render_line(job, found.item, encoding_format=encoding_format, request_id=found.request_id)


def render_line(
    job: JobRow,
    item: ItemResult,
    *,
    encoding_format: EncodingFormat | None = None,
    request_id: str | None = None,
) -> bytes:
    """One item as a line. `encoding_format` overrides what its request asked for, `request_id` names the
    request that gave the result, where that is another job's."""
    if item.status == 200:
        wanted = encoding_format or _read_asked(item.body).encoding_format or "float"
        body = _embedding_body(job.model, item.parts, wanted)
    else:
        error = decode_error(item.parts[0])
        if error.code in _NO_RESPONSE:
            return _line(job, item, None, {"code": error.code, "message": error.message})
        body = error_body(error, item.status)
    request_id = request_id or f"req_{job.suffix}_{item.n}"
    response = {"status_code": item.status, "request_id": request_id, "body": body}
    return _line(job, item, response, None)


def render_answer(item: ItemResult, *, model: str, encoding_format: EncodingFormat) -> bytes:
    """The body of the reply to an awaited call: the result of its item, or the error envelope."""
    if item.status == 200:
        return orjson.dumps(_embedding_body(model, item.parts, encoding_format), option=_OPTIONS)
    return orjson.dumps(error_body(decode_error(item.parts[0]), item.status))


def error_body(error: ErrorInfo, status: int) -> dict[str, Any]:
    """A stored error in OpenAI's envelope."""
    kind = type_of(status)
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


def _line(job: JobRow, item: ItemResult, response: dict[str, Any] | None, error: LineError | None) -> bytes:
    line = {
        "id": f"batch_req_{job.suffix}_{item.n}",
        "custom_id": item.custom_id,
        "response": response,
        "error": error,
    }
    return orjson.dumps(line, option=_OPTIONS)


def _embedding_body(model: str, parts: Sequence[bytes], encoding_format: EncodingFormat) -> dict[str, Any]:
    """The body of an embeddings reply: `parts` are encoded `EmbeddingResult`s whose rows follow each other.

    A float is written with the fewest digits that read back as the same float32.
    """
    tokens, rows = 0, list[Any]()
    for part in parts:
        result = decode_embedding(part)
        tokens += result.tokens
        vectors = np.frombuffer(result.vectors, dtype="<f4").reshape(-1, result.dimensions)
        rows.extend(
            [b64encode(row.data).decode() for row in vectors] if encoding_format == "base64" else vectors
        )
    return {
        "object": "list",
        "model": model,
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
