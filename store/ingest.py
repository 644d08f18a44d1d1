"""Ingest: the lines of an input file become the items of a job, by COPY, all of them or none.

The good path is one pass: what Postgres refuses as a duplicate, or the first line at fault, undoes it. Only
then is the file read once more, for a full report.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.errors import UniqueViolation

from store.db import map_errors
from store.lines import LineError, LineRules, Request, check_requests, read_requests

Split = Callable[[bytes], list[bytes]]

_COPY_ITEMS = "COPY item (job_id, n, custom_id, body, parts) FROM STDIN (FORMAT binary)"
_COPY_PARTS = "COPY item_part (job_id, n, item_n, position, body) FROM STDIN (FORMAT binary)"


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What became of a file. With `errors` nothing was stored."""

    items: int = 0
    parts: int = 0
    model: str = ""
    errors: tuple[LineError, ...] = ()


class _AtFault(Exception):
    """The file has something wrong in it."""


@map_errors()
def ingest(
    conn: Connection[Any], job_id: int, path: Path, rules: LineRules, *, split: Split | None = None
) -> Ingested:
    """Stores the requests of the file at `path` as the items of a job that has none yet.

    `split` cuts a body into those of its parts (one or more); None: every item has one part. Joins the
    transaction that is open on `conn`, so that `lifecycle.validated` can be part of it. Raises OSError.
    """
    try:
        with conn.transaction():
            items, model, large = _copy_items(conn, job_id, path, rules, split)
            parts = items
            if split is not None and large:
                parts += _copy_parts(conn, job_id, path, rules, split, large, items)
    except (_AtFault, UniqueViolation):
        return Ingested(errors=tuple(check_requests(path, rules)))
    return Ingested(items=items, parts=parts, model=model)


def _copy_items(
    conn: Connection[Any], job_id: int, path: Path, rules: LineRules, split: Split | None
) -> tuple[int, str, set[int]]:
    """(how many items, their model, the numbers of those with several parts)."""
    large: set[int] = set()
    n, model = -1, ""
    with conn.cursor().copy(_COPY_ITEMS) as copy:
        copy.set_types(["int8", "int4", "text", "bytea", "int4"])
        for n, request in enumerate(_requests(path, rules)):
            bodies = split(request.body) if split is not None else (request.body,)
            copy.write_row((job_id, n, request.custom_id, bodies[0], len(bodies)))
            if len(bodies) > 1:
                large.add(n)
            model = request.model
    return n + 1, model, large


def _copy_parts(
    conn: Connection[Any],
    job_id: int,
    path: Path,
    rules: LineRules,
    split: Split,
    large: set[int],
    items: int,
) -> int:
    """Stores the further parts of the large items, numbered after the last item: how many.

    Reads the file again, as one connection copies into one table at a time and parts may be many.
    """
    n = items
    with conn.cursor().copy(_COPY_PARTS) as copy:
        copy.set_types(["int8", "int4", "int4", "int4", "bytea"])
        for item_n, request in enumerate(_requests(path, rules)):
            if item_n in large:
                for position, body in enumerate(split(request.body)[1:], 1):
                    copy.write_row((job_id, n, item_n, position, body))
                    n += 1
    return n - items


def _requests(path: Path, rules: LineRules) -> Iterator[Request]:
    for found in read_requests(path, rules):
        if isinstance(found, LineError):
            raise _AtFault
        yield found
