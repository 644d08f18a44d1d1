"""The results of a job as they are read while it runs, with those of its retries merged in."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from psycopg import Connection

from store import results, retries
from store.jobs import JobRow
from store.results import UNFINISHED, ItemResult
from store.retries import RetryJob

MERGE_ITEMS = 128  # items whose retries are looked up at a time


class Outcome(NamedTuple):
    """What has become of an item, under the number that it has in the first job.

    `is_open`: that may still change. `request_id` names the retry that gave the result, if one did.
    """

    item: ItemResult
    is_open: bool
    request_id: str | None = None


def outcomes(
    conn: Connection[Any], job: JobRow, *, after: int | None, include_retries: bool
) -> Iterator[Outcome]:
    """The outcomes of the items after number `after`, in order.

    Items without a result are among them where somebody could go on from them: `after` is given, or a retry
    may have theirs. Of retries the latest success counts; without one the item's own error, or if it has
    none the latest of a retry. Raises `DatabaseUnavailable`.
    """
    again = retries.retries_of(conn, job.id) if include_retries else []
    items = results.iter_results(
        conn, job.id, after=-1 if after is None else after, unfinished=after is not None or bool(again)
    )
    is_open = job.ended_at is None
    while batch := list(islice(items, MERGE_ITEMS)):
        places = _places(conn, batch, again)
        for item in batch:
            own = Outcome(item, is_open and item.status == UNFINISHED)
            yield _merged(conn, own, places.get(item.custom_id, []), again) if places else own


def _places(
    conn: Connection[Any], items: Sequence[ItemResult], again: Sequence[RetryJob]
) -> dict[str, list[tuple[int, int]]]:
    failed = [item.custom_id for item in items if item.status != 200]
    return retries.find_items(conn, again, failed) if again and failed else {}


def _merged(
    conn: Connection[Any], own: Outcome, places: Sequence[tuple[int, int]], again: Sequence[RetryJob]
) -> Outcome:
    """`places` are (job, number) of the item in its retries, the latest first."""
    jobs = {retry.id: retry for retry in again}
    best = own
    for job_id, n in places:
        found, retry = results.one(conn, job_id, n), jobs[job_id]
        if found is None:
            continue
        if found.status == UNFINISHED:
            best = best._replace(is_open=best.is_open or retry.is_open)
        elif found.status == 200 or best.item.status == UNFINISHED:
            item = replace(found, n=own.item.n)
            best = Outcome(item, best.is_open and found.status != 200, f"req_{retry.suffix}_{n}")
            if found.status == 200:
                return best
    return best
