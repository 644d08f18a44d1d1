"""Results as they are read: in order, filtered, page by page, items put together from parts."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import records, results
from store.chunks import Claim
from store.items import NewItem
from store.records import PartResult
from store.results import UNFINISHED

Conn = psycopg.Connection[Any]
Record = Callable[[dict[int, int]], None]


@pytest.fixture
def job(new_job: Callable[..., int]) -> int:
    """Items a..e; b has three parts (1, 5, 6), d has two (3, 7)."""
    more = {"b": (b"b1", b"b2"), "d": (b"d1",)}
    items = [NewItem(custom_id=name, body=name.encode(), more_bodies=more.get(name, ())) for name in "abcde"]
    return new_job(items)


@pytest.fixture
def record(conn: Conn, job: int, take: Callable[..., Claim]) -> Record:
    """Records parts of the job, given as {number: status}."""
    claim = take(default_size=100)

    def do(statuses: dict[int, int]) -> None:
        rows = [PartResult(n, status, 10, b"part %d" % n) for n, status in statuses.items()]
        records.record(conn, claim.ref, rows, lease_seconds=30, chunk_done=False)

    return do


def read(conn: Conn, job: int, **named: Any) -> list[tuple[str, int, list[bytes]]]:
    found = results.iter_results(conn, job, **named)
    return [(item.custom_id, item.status, item.parts) for item in found]


def test_only_items_with_all_their_parts_are_there_by_default(conn: Conn, job: int, record: Record) -> None:
    assert read(conn, job) == []
    record({0: 200, 1: 200, 4: 400, 5: 200})
    assert read(conn, job) == [("a", 200, [b"part 0"]), ("e", 400, [b"part 4"])]
    record({6: 200})
    assert read(conn, job)[1] == ("b", 200, [b"part 1", b"part 5", b"part 6"])


def test_an_item_with_a_failed_part_is_that_error(conn: Conn, job: int, record: Record) -> None:
    record({5: 500, 6: 400})
    assert read(conn, job) == [("b", 500, [b"part 5"])]
    record({1: 200})
    assert read(conn, job) == [("b", 500, [b"part 5"])]


def test_errors_and_successes_are_told_apart(conn: Conn, job: int, record: Record) -> None:
    record({0: 200, 1: 200, 2: 400, 3: 200, 5: 500, 7: 200})
    assert [name for name, _, _ in read(conn, job, errors=True)] == ["b", "c"]
    assert [name for name, _, _ in read(conn, job, errors=False)] == ["a", "d"]
    assert [name for name, _, _ in read(conn, job)] == ["a", "b", "c", "d"]


def test_what_never_ran_is_given_on_request_without_the_parts_that_did(
    conn: Conn, job: int, record: Record
) -> None:
    record({0: 200, 1: 200, 2: 400})
    expected = [("b", UNFINISHED, []), ("c", 400, [b"part 2"]), ("d", UNFINISHED, []), ("e", UNFINISHED, [])]
    assert read(conn, job, errors=True, unfinished=True) == expected
    assert read(conn, job, errors=False, unfinished=True) == [("a", 200, [b"part 0"])]


def test_reading_goes_on_after_any_item(conn: Conn, job: int, record: Record) -> None:
    record(dict.fromkeys(range(8), 200))
    assert [name for name, _, _ in read(conn, job, after=1)] == ["c", "d", "e"]
    assert read(conn, job, after=4) == []


def test_an_item_carries_its_request_and_the_units_of_all_its_parts(
    conn: Conn, job: int, record: Record
) -> None:
    record({1: 200, 5: 200, 6: 200})
    (item,) = results.iter_results(conn, job)
    assert (item.n, item.body, item.units) == (1, b"b", 30)


@pytest.mark.parametrize("page_parts", [1, 2, 3, 8, 100])
def test_pages_of_any_size_give_the_same(
    conn: Conn,
    job: int,
    record: Record,
    wait_for: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    page_parts: int,
) -> None:
    record({0: 200, 1: 200, 2: 400, 4: 200, 5: 200, 6: 200, 7: 200})
    expected = {
        "all": read(conn, job, unfinished=True),
        "errors": read(conn, job, errors=True),
        "successes": read(conn, job, errors=False),
    }
    monkeypatch.setattr(results, "PAGE_PARTS", page_parts)
    assert read(conn, job, unfinished=True) == expected["all"]
    assert read(conn, job, errors=True) == expected["errors"]
    assert read(conn, job, errors=False) == expected["successes"]
    answer = [(item.custom_id, item.status, item.parts) for item in wait_for(results.answer, job)]
    assert answer == expected["all"]


def test_jobs_do_not_see_each_other(
    conn: Conn, job: int, record: Record, new_job: Callable[..., int]
) -> None:
    record({0: 200})
    assert read(conn, new_job(3)) == []
    assert read(conn, -1, unfinished=True) == []


def test_a_reader_that_stops_midway_leaves_the_connection_usable(
    conn: Conn, job: int, record: Record
) -> None:
    record({0: 200, 2: 200})
    reader = results.iter_results(conn, job)
    next(reader)
    reader.close()
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
