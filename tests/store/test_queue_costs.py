"""What a look at a job reads, with deep queues: bounded by what is told, whatever waits behind it."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import counts, job_pages, jobs, queue
from store.job_pages import JobFilter
from store.jobs import JobRow
from store.states import JobState

Conn = psycopg.Connection[Any]
WaitFor = Callable[..., Any]
KEYS, JOBS_EACH, MOST = 50, 400, 1000
LOOKS = 8  # more than the five after which Postgres may go over to a generic plan

READ = """
SELECT seq_scan, coalesce(idx_tup_fetch, 0) + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'job'
"""


@pytest.fixture(params=["analyzed", "never analyzed"])
def deep(request: pytest.FixtureRequest, conn: Conn) -> tuple[int, int]:
    """20,000 waiting jobs of 50 keys, and as many that have ended: the ids of the oldest and the youngest."""
    conn.execute("ALTER TABLE job SET (autovacuum_enabled = false)")
    conn.execute("INSERT INTO api_key (project_id, name) SELECT 1, '' FROM generate_series(1, %s)", (KEYS,))
    conn.execute("INSERT INTO model_pace (model, seconds) VALUES ('echo', 0.1)")
    conn.execute("INSERT INTO slot (boot_id, host, pid, families, lease_until) "
                 "VALUES ('t', 't', 1, '{echo}', 'infinity')")  # fmt: skip
    conn.execute("INSERT INTO slot_core SELECT 't', 0, id FROM slot")
    for state, ended in (("completed", True), ("queued", False)):
        conn.execute(
            """
            WITH job AS (
                INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, lane, state,
                                 ready, items, parts, ended_at)
                SELECT %(state)s || key_id || '-' || n, 'job', 1, 1 + key_id, '/v1/embeddings', 'echo',
                       'echo', 'bulk', %(state)s, NOT %(ended)s, 10, 10, CASE WHEN %(ended)s THEN now() END
                FROM generate_series(1, %(each)s) AS n CROSS JOIN generate_series(1, %(keys)s) AS key_id
                RETURNING id
            ) INSERT INTO job_progress (job_id) SELECT id FROM job""",
            {"state": state, "ended": ended, "each": JOBS_EACH, "keys": KEYS},
        )
    if request.param == "analyzed":
        conn.execute("VACUUM ANALYZE job, job_progress")
    row = conn.execute("SELECT min(id), max(id) FROM job WHERE ready").fetchone()
    assert row is not None
    return row


@pytest.fixture
def reads(wait_for: WaitFor) -> Callable[..., tuple[int, float]]:
    """(whole scans, rows of `job` that one call of an asynchronous function reads)."""

    async def measure(conn: Any, function: Any, *args: Any, **named: Any) -> tuple[int, float]:
        async with conn.transaction():
            before = await (await conn.execute(READ)).fetchone()
            for _ in range(LOOKS):
                await function(conn, *args, **named)
            after = await (await conn.execute(READ)).fetchone()
        return after[0] - before[0], (after[1] - before[1]) / LOOKS

    return lambda function, *args, **named: wait_for(measure, function, *args, **named)


def test_the_place_of_the_first_job_reads_next_to_nothing(
    deep: tuple[int, int], wait_for: WaitFor, reads: Callable[..., tuple[int, float]]
) -> None:
    job: JobRow = wait_for(jobs.load, deep[0])
    assert wait_for(queue.position, job) == 1
    scans, rows = reads(queue.position, job)
    assert scans == 0
    assert rows <= 2 * KEYS + 10  # from key to key, and an end of range for each


def test_far_back_no_more_is_read_than_is_told(
    deep: tuple[int, int], wait_for: WaitFor, reads: Callable[..., tuple[int, float]]
) -> None:
    job: JobRow = wait_for(jobs.load, deep[1])
    for look in (queue.position, queue.work_ahead):
        assert wait_for(look, job, most=MOST) is None
        scans, rows = reads(look, job, most=MOST)
        assert scans == 0
        assert rows <= MOST + 2 * KEYS + 10
    assert wait_for(queue.position, job, most=10**6) == KEYS * JOBS_EACH


@pytest.mark.parametrize(
    "wanted", [JobFilter(), JobFilter(states=[JobState.QUEUED], views=["job"])], ids=repr
)
@pytest.mark.usefixtures("deep")
def test_a_page_reads_its_jobs_and_what_stands_beside_them(
    wait_for: WaitFor, reads: Callable[..., tuple[int, float]], wanted: JobFilter
) -> None:
    scans, rows = reads(job_pages.page, 1, wanted, None, 20)
    assert scans == 0
    assert rows <= 2 * 21
    page, _ = wait_for(job_pages.page, 1, wanted, None, 20)
    for look in (counts.counts, queue.standings):
        scans, rows = reads(look, page)
        assert scans == 0
        assert rows <= 3 * len(page)
