"""Items with their states, claims, strikes and errors, in pages."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import item_states, jobs, leases, records
from store.chunks import Claim
from store.item_states import ItemRow
from store.items import NewItem
from store.records import PartResult
from store.states import ItemState

Conn = psycopg.Connection[Any]
WaitFor = Callable[..., Any]


@pytest.fixture
def job(new_job: Callable[..., int]) -> int:
    """Items a to e; b has two parts, numbered 1 and 5."""
    more = {"b": (b"b1",)}
    return new_job([NewItem(custom_id=name, body=b"", more_bodies=more.get(name, ())) for name in "abcde"])


@pytest.fixture
def listed(wait_for: WaitFor, job: int) -> Callable[..., list[ItemRow]]:
    def page(**asked: Any) -> list[ItemRow]:
        row = wait_for(jobs.load, job)
        rows: list[ItemRow] = wait_for(item_states.page, row, **({"limit": 100} | asked))[0]
        return rows

    return page


def states(rows: list[ItemRow]) -> dict[str, str]:
    return {row.custom_id: str(row.state) for row in rows}


def test_states_follow_claims_and_results(
    conn: Conn, take: Callable[..., Claim], listed: Callable[..., list[ItemRow]]
) -> None:
    assert set(states(listed()).values()) == {"pending"}
    claim = take(default_size=4)
    rows = [PartResult(0, 200, 7, b""), PartResult(1, 200, 1, b""), PartResult(2, 400, 0, b"why")]
    records.record(conn, claim.ref, rows, lease_seconds=30, chunk_done=False)
    found = listed()
    assert states(found) == {
        "a": "succeeded", "b": "running", "c": "errored", "d": "running", "e": "pending",
    }  # fmt: skip
    assert [(row.units, row.error) for row in found[:3]] == [(7, None), (1, None), (0, b"why")]
    assert [row.attempts for row in found] == [1, 1, 1, 1, 0]
    leases.release(conn, [claim.ref])
    assert states(listed())["d"] == "pending"


def test_what_is_left_of_an_ended_job_has_its_end(conn: Conn, job: int, listed: Callable[..., Any]) -> None:
    conn.execute("UPDATE job SET state = 'expired', ended_at = now() WHERE id = %s", (job,))
    assert set(states(listed()).values()) == {"expired"}


def test_claims_and_strikes_are_those_of_all_parts_of_an_item(
    conn: Conn,
    job: int,
    take: Callable[..., Claim],
    take_over: Callable[..., Claim],
    listed: Callable[..., list[ItemRow]],
) -> None:
    take(default_size=5)
    last = take(default_size=5)  # part 5, the second of item b
    for _ in range(2):
        leases.release(conn, [last.ref])
        again = take_over()
        assert again is not None
        last = again
    records.strike(conn, job, 1, "engine_crashed: SIGABRT")
    records.strike(conn, job, 5, "engine_crashed: SIGSEGV")
    found = {row.custom_id: row for row in listed()}
    assert (found["b"].attempts, found["b"].strikes) == (3, 2)
    assert found["b"].strike_reason == "engine_crashed: SIGSEGV"
    assert (found["a"].attempts, found["a"].strikes, found["a"].strike_reason) == (1, 0, None)


def test_pages_hold_the_states_that_are_asked_for(
    conn: Conn, job: int, wait_for: WaitFor, take: Callable[..., Claim]
) -> None:
    rows = [PartResult(n, 400 if n in (0, 3) else 200, 0, b"") for n in range(6)]
    records.record(conn, take(default_size=6).ref, rows, lease_seconds=30, chunk_done=True)
    row = wait_for(jobs.load, job)
    asked = {"limit": 1, "states": [ItemState.ERRORED]}
    first, more = wait_for(item_states.page, row, **asked)
    second, last = wait_for(item_states.page, row, after=first[0].n, **asked)
    assert [item.custom_id for item in (*first, *second)] == ["a", "d"]
    assert (more, last) == (True, False)


def test_an_item_is_found_by_its_custom_id(job: int, wait_for: WaitFor) -> None:
    row = wait_for(jobs.load, job)
    assert wait_for(item_states.find, row, "c").n == 2
    assert wait_for(item_states.find, row, "nobody") is None


@pytest.mark.parametrize(
    ("asked", "most"), [({}, 21), ({"after": 2900}, 21), ({"states": [ItemState.ERRORED]}, 30)], ids=repr
)
def test_a_page_of_a_large_job_reads_its_own_items_alone(
    conn: Conn, new_job: Callable[..., int], wait_for: WaitFor, asked: dict[str, Any], most: int
) -> None:
    """Also while the tables' statistics are those of empty ones."""
    for table in ("item", "result"):
        conn.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")  # type: ignore[arg-type]
    job = wait_for(jobs.load, new_job(3000))
    conn.execute(
        """INSERT INTO result (job_id, n, status, data)
           SELECT %s, n, CASE WHEN n %% 100 = 0 THEN 400 ELSE 200 END, ''
           FROM generate_series(0, 2999) AS n""",
        (job.id,),
    )

    async def read(conn: Any) -> list[int]:
        counted = """SELECT sum(seq_scan), sum(coalesce(idx_tup_fetch, 0) + seq_tup_read)
                     FROM pg_stat_xact_user_tables WHERE relname IN ('item', 'result')"""
        async with conn.transaction():
            before = await (await conn.execute(counted)).fetchone()
            for _ in range(8):
                await item_states.page(conn, job, limit=20, **asked)
            after = await (await conn.execute(counted)).fetchone()
        return [now - then for now, then in zip(after, before, strict=True)]

    scans, rows = wait_for(read)
    assert scans == 0
    assert rows / 8 <= 4 * most  # an item, its result, and of an error its text
