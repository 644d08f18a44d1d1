"""What hot statements read, with deep queues and large jobs: index probes, by what is asked for and not by
what is stored. Counted by Postgres, since a time would depend on the machine."""

from collections.abc import Callable, Iterator
from typing import Any, Self

import psycopg
import pytest

from store import items, leases, lifecycle, results, waiting
from store.db import connect

Conn = psycopg.Connection[Any]
KEYS = 20
CLAIMS = 20  # more than the five after which Postgres may go over to a generic plan
RECLAIM: dict[str, Any] = {
    "lanes": ["interactive", "bulk"], "cores": 1, "lease_seconds": 30, "only_model": None,
}  # fmt: skip
SLOT_OF_ONE_CORE = """
    WITH slot AS (
        INSERT INTO slot (boot_id, host, pid, families, lease_until)
        VALUES ('test', 'test', 1, '{echo}', 'infinity') RETURNING id
    ) INSERT INTO slot_core SELECT 'test', 0, id FROM slot"""


@pytest.fixture(scope="module", params=["analyzed", "never analyzed"])
def deep(request: pytest.FixtureRequest, database_factory: Callable[[], str]) -> Iterator[Conn]:
    """20,000 waiting calls and 200 batches of 5,000 parts, of 20 callers; and 20,000 jobs that have ended.

    Shared by the tests of this file, which roll back what they do.
    """
    with connect(database_factory(), name="test") as conn:
        conn.execute("ALTER TABLE job SET (autovacuum_enabled = false)")
        conn.execute(
            "INSERT INTO api_key (project_id, name) SELECT 1, '' FROM generate_series(1, %s)", (KEYS,)
        )
        conn.execute(
            """
            INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, lane, state, ready,
                             items, parts, next_part, ended_at, expected_seconds)
            SELECT kind || n, 'job', 1, 2 + n %% %(keys)s, '/v1/embeddings', 'echo', 'model-' || n %% 3, lane,
                   state, state = 'queued', parts, parts, CASE WHEN state = 'queued' THEN 0 ELSE parts END,
                   CASE WHEN state = 'completed' THEN now() END, n %% 977
            FROM (VALUES ('call', 'interactive', 'queued', 1, 20000), ('batch', 'bulk', 'queued', 5000, 200),
                         ('old', 'bulk', 'completed', 10, 20000)) AS kinds (kind, lane, state, parts, count)
            CROSS JOIN LATERAL generate_series(1, count) AS n
            """,
            {"keys": KEYS},
        )
        if request.param == "analyzed":
            conn.execute("VACUUM ANALYZE job")
        yield conn


class Reads:
    """What is read of a table within a block: whole scans, index probes, rows."""

    def __init__(self, conn: Conn, table: str) -> None:
        self._conn, self._table = conn, table

    def __enter__(self) -> Self:
        self._before = self._count()
        return self

    def __exit__(self, *_: object) -> None:
        differences = [now - then for now, then in zip(self._count(), self._before, strict=True)]
        self.whole_scans, self.probes, self.rows = differences

    def _count(self) -> tuple[int, ...]:
        row = self._conn.execute(
            """SELECT seq_scan, idx_scan, coalesce(idx_tup_fetch, 0) + seq_tup_read
               FROM pg_stat_xact_user_tables WHERE relname = %s""",
            (self._table,),
        ).fetchone()
        assert row is not None
        return row


class Explaining:
    """Stands in for a connection: explains a statement instead of running it."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn
        self.plan = ""

    def execute(self, statement: str, values: dict[str, Any]) -> "Explaining":
        rows = self._conn.execute(f"EXPLAIN {statement}", values).fetchall()  # type: ignore[arg-type]
        self.plan = "\n".join(row[0] for row in rows)
        return self

    def fetchone(self) -> None:
        return None


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({}, "ix_job_ready"),
        ({"loaded": "model-1"}, "ix_job_ready_model"),
        ({"only_model": "model-1"}, "ix_job_ready_model"),
        ({}, "ix_job_shortest"),
    ],
    ids=["any model", "one loaded", "one model alone", "the shortest"],
)
def test_the_plan_of_a_claim_goes_by_its_index(
    deep: Conn, take: Callable[..., Any], asked: dict[str, Any], index: str
) -> None:
    explaining = Explaining(deep)
    take(conn=explaining, **asked)
    assert f"using {index} on job" in explaining.plan
    assert "Seq Scan on job" not in explaining.plan


@pytest.mark.parametrize("lanes", [["interactive", "bulk"], ["bulk"]], ids=["both lanes", "bulk"])
@pytest.mark.parametrize("asked", [{}, {"loaded": "model-1"}, {"only_model": "model-1"}], ids=repr)
def test_a_claim_reads_a_few_rows_for_each_caller_and_none_besides(
    deep: Conn, take: Callable[..., Any], asked: dict[str, Any], lanes: list[str]
) -> None:
    with deep.transaction(force_rollback=True), Reads(deep, "job") as reads:
        for _ in range(CLAIMS):
            assert take(conn=deep, lanes=lanes, default_size=1, **asked) is not None
    # For each caller and lane: its first job, and the first of the model; and of the chosen caller the
    # shortest jobs, and the head's own row.
    most = len(lanes) * (KEYS + 1) * 2 + 5
    assert reads.whole_scans == 0
    assert reads.probes / CLAIMS <= most
    assert reads.rows / CLAIMS <= most + CLAIMS  # versions that the claims before left


def test_looking_where_nothing_waits_costs_next_to_nothing(deep: Conn, take: Callable[..., Any]) -> None:
    with deep.transaction(force_rollback=True), Reads(deep, "job") as reads:
        for _ in range(CLAIMS):
            assert take(conn=deep, families=["bert"]) is None
    assert reads.whole_scans == 0
    assert reads.probes / CLAIMS < 5  # one for each lane; planning has a look too
    assert reads.rows / CLAIMS < 5


def test_chunks_that_are_done_cost_a_takeover_nothing(conn: Conn, new_job: Callable[..., int]) -> None:
    job = new_job(1)
    conn.execute(
        """INSERT INTO chunk (job_id, lo, hi, state, token, lease_until)
           SELECT %s, n, n + 1, 'done', 1, now() - interval '1 day' FROM generate_series(1, 50000) AS n""",
        (job,),
    )
    conn.execute("VACUUM ANALYZE chunk")
    with conn.transaction(), Reads(conn, "chunk") as reads:
        for _ in range(CLAIMS):
            leases.reclaim(conn, slot_id=1, families=["echo"], **RECLAIM)
    assert (reads.whole_scans, reads.rows) == (0, 0)


def test_the_looks_of_the_dispatcher_do_not_grow_with_the_queue(deep: Conn) -> None:
    lost = """
        INSERT INTO chunk (job_id, lo, hi, token, lease_until)
        SELECT id, 0, 1, 1, now() - interval '1 day' FROM job WHERE state = 'queued' LIMIT 20"""
    with deep.transaction(force_rollback=True):
        deep.execute(SLOT_OF_ONE_CORE)
        deep.execute(lost)
        with Reads(deep, "job") as reads:
            for _ in range(CLAIMS):
                assert len(waiting.waiting_families(deep)) == 2
                lifecycle.release_due(deep)
                lifecycle.expire_due(deep)
                lifecycle.settle_cancelling(deep)
                leases.reclaim(deep, slot_id=1, families=["echo"], **RECLAIM)
    assert reads.whole_scans == 0
    assert reads.rows / CLAIMS <= 2 * 20 + 10


def test_explaining_looks_at_the_jobs_that_no_slot_could_take_alone(deep: Conn) -> None:
    stuck = """
        INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, cores, lane, state, ready,
                         items, parts)
        SELECT family || n, 'job', 1, 2, '', family, '', 4, 'bulk', 'queued', true, 1, 1
        FROM unnest('{echo,whisper}'::text[]) AS family CROSS JOIN generate_series(1, 10) AS n"""
    with deep.transaction(force_rollback=True):
        deep.execute(SLOT_OF_ONE_CORE)
        deep.execute(stuck)
        with Reads(deep, "job") as reads:
            assert [waiting.explain(deep) for _ in range(CLAIMS)] == [20] + [0] * (CLAIMS - 1)
    assert reads.whole_scans == 0
    assert reads.rows / CLAIMS <= 2 * 20 + 10


def test_deleting_ended_jobs_reads_no_others(deep: Conn) -> None:
    with deep.transaction(force_rollback=True):
        deep.execute("UPDATE job SET ended_at = now() - interval '9 days' WHERE suffix LIKE 'old__'")
        with Reads(deep, "job") as reads:
            deleted = [lifecycle.delete_ended(deep, "job", 86400) for _ in range(CLAIMS)]
            assert deleted == [90] + [0] * (CLAIMS - 1)
    assert reads.whole_scans == 0
    assert reads.rows / CLAIMS <= 2 * 90


@pytest.fixture(scope="module", params=["analyzed", "never analyzed"])
def large(request: pytest.FixtureRequest, database_factory: Callable[[], str]) -> Iterator[Conn]:
    """Ten jobs of 2,000 items, all recorded; every hundredth is an error. Shared, and only read."""
    with connect(database_factory(), name="test") as conn:
        for table in ("item", "result"):
            conn.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")  # type: ignore[arg-type]
        conn.execute(
            """
            WITH job AS (
                INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, lane, state)
                SELECT 'job' || n, 'job', 1, 1, '/v1/embeddings', 'echo', 'echo', 'bulk', 'completed'
                FROM generate_series(1, 10) AS n RETURNING id
            ), item AS (
                INSERT INTO item (job_id, n, custom_id, body)
                SELECT id, n, n::text, 'body' FROM job CROSS JOIN generate_series(0, 1999) AS n
            )
            INSERT INTO result (job_id, n, status, data)
            SELECT id, n, CASE WHEN n %% 100 = 0 THEN 400 ELSE 200 END, 'result'
            FROM job CROSS JOIN generate_series(0, 1999) AS n
            """,
            (),
        )
        if request.param == "analyzed":
            conn.execute("VACUUM ANALYZE item, result")
        yield conn


@pytest.mark.parametrize(("errors", "found"), [(None, 2000), (False, 1980), (True, 20)])
def test_reading_a_job_looks_at_each_of_its_results_at_most_twice(
    large: Conn, errors: bool | None, found: int
) -> None:
    with large.transaction(), Reads(large, "result") as of_result, Reads(large, "item") as of_item:
        for _ in range(8):  # so that a generic plan is among them
            assert sum(1 for _ in results.iter_results(large, 5, errors=errors)) == found
    assert (of_result.whole_scans, of_item.whole_scans) == (0, 0)
    assert of_result.rows <= 8 * 2 * 2000
    assert of_item.rows <= 8 * 2000 * 1.1


def test_loading_a_chunk_reads_its_parts_and_nothing_else(large: Conn) -> None:
    with large.transaction(), Reads(large, "result") as of_result, Reads(large, "item") as of_item:
        for _ in range(8):
            assert items.load_parts(large, 5, 500, 600) == []
    assert (of_result.whole_scans, of_item.whole_scans) == (0, 0)
    assert of_result.rows <= 8 * 100
    assert of_item.rows <= 8 * 100
