"""Results as they are read: rendered on every read from their compact form, to the same bytes every time.

An output line is OpenAI's: `{"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error"}`.
A line that got an HTTP error has that status and an error envelope as its body; one that never ran, or
at which its engine ended, has `"response": null` and an `error`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import orjson
from psycopg import Connection

from backends.types import ErrorInfo, decode_error
from configs.error_codes import type_of
from store import results
from store.jobs import JobRow
from store.results import UNFINISHED, ItemResult
from store.states import JobState
from tasks.formats import AS_ASKED, Formats
from tasks.merging import outcomes
from tasks.result_bodies import result_body

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
    formats: Formats = AS_ASKED,
) -> Iterator[bytes]:
    """The lines of the items that have a result by now, errors too, in order of items.

    With `after` those behind that number, as far as none between them is still to come: whoever goes on
    after the last line misses nothing. Raises `DatabaseUnavailable`.
    """
    for found in outcomes(conn, job, after=after, include_retries=include_retries):
        if found.is_open and after is not None:
            return
        if found.item.status != UNFINISHED:
            yield render_line(job, found.item, formats=formats, request_id=found.request_id)


def render_line(
    job: JobRow,
    item: ItemResult,
    *,
    formats: Formats = AS_ASKED,
    request_id: str | None = None,
) -> bytes:
    """One item as a line. `formats` override what its request asked for, `request_id` names the request that
    gave the result, where that is another job's."""
    if item.status == 200:
        body = result_body(job.endpoint, job.model, item, formats)
    else:
        error = decode_error(item.parts[0])
        if error.code in _NO_RESPONSE:
            return _line(job, item, None, {"code": error.code, "message": error.message})
        body = error_body(error, item.status)
    request_id = request_id or f"req_{job.suffix}_{item.n}"
    response = {"status_code": item.status, "request_id": request_id, "body": body}
    return _line(job, item, response, None)


def render_answer(item: ItemResult, body_of: Callable[[Sequence[bytes]], Any]) -> bytes:
    """The body of the reply to an awaited call: what `body_of` makes of the parts of its result (bytes, or a
    JSON value), or the error envelope."""
    if item.status != 200:
        return orjson.dumps(error_body(decode_error(item.parts[0]), item.status))
    body = body_of(item.parts)
    return body if isinstance(body, bytes) else orjson.dumps(body, option=_OPTIONS)


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
