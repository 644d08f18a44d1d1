"""Lost chunks and the slots that take them over, whatever these are busy with."""

import threading

import psycopg

from tasks.drain import drain
from tests.fixtures.processes import wait_until
from tests.tasks.slot import submit, text
from tests.tasks.test_drain import OpenSlot, conn, results_of, slot, state_of

__all__ = ["conn", "slot"]  # the fixtures


def test_a_lost_chunk_does_not_wait_for_the_end_of_another_models_work(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    lost = submit(database_url, [text(n) for n in range(40)])
    stale = slot(drain_seconds=0.4)
    conn.execute("UPDATE job SET model = 'echo-slow' WHERE id = %s", (lost,))
    drain(stale)  # its time is up; its engine holds the rest
    conn.execute("UPDATE job SET model = 'echo' WHERE id = %s", (lost,))
    long = submit(database_url, [text(n) for n in range(2000)], model="echo-slow")
    busy = slot(drain_seconds=60)
    running = threading.Thread(target=drain, args=(busy,))
    running.start()
    try:
        wait_until(lambda: bool(results_of(conn, long)), 30, "the long job runs")
        conn.execute("UPDATE chunk SET lease_until = now() - interval '1 second' WHERE job_id = %s", (lost,))
        wait_until(lambda: state_of(conn, lost) == "finalizing", 30, "the lost chunk was taken over")
        assert state_of(conn, long) == "running"
    finally:
        busy.stop()
        running.join(30)
