"""Procrastinate: one job per item in Postgres, deferred a thousand at a time. It keeps no results, so the
task puts its own into a table, as its users do."""

import os
import sys
import time
from collections.abc import Sequence

import psycopg
from procrastinate import App, PsycopgConnector

from benchmarks.peers.queue_turns import WORKERS, serve

DATABASE = os.environ["BENCH_DATABASE"]
AT_ONCE = 1000
CONCURRENCY = 10  # jobs that one process works on at a time
LOOK_SECONDS = 0.002
app = App(connector=PsycopgConnector(conninfo=DATABASE))


@app.task  # type: ignore[untyped-decorator]
async def count_words(number: int, text: str) -> None:
    await app.connector.execute_query_async(
        "INSERT INTO noop_result (number, words) VALUES (%(number)s, %(words)s)",
        number=number,
        words=len(text.split()),
    )


class ProcrastinateQueue:
    """See `queue_turns.Queue`."""

    def __init__(self) -> None:
        self._conn = psycopg.connect(DATABASE, autocommit=True)
        self._conn.execute("CREATE TABLE IF NOT EXISTS noop_result (number bigint PRIMARY KEY, words int)")
        app.open()
        found = self._conn.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
        if found == (None,):
            app.schema_manager.apply_schema()
        (self._next,) = self._conn.execute(
            "SELECT coalesce(max(number), 0) + 1 FROM noop_result"
        ).fetchone() or (1,)

    def call(self, text: str) -> int:
        return self.run([text])[0]

    def run(self, texts: Sequence[str]) -> list[int]:
        first, self._next = self._next, self._next + len(texts)
        jobs = [{"number": number, "text": text} for number, text in enumerate(texts, first)]
        for start in range(0, len(jobs), AT_ONCE):
            count_words.batch_defer(*jobs[start : start + AT_ONCE])
        while self._count(first) < len(texts):
            time.sleep(LOOK_SECONDS)
        query = "SELECT words FROM noop_result WHERE number >= %s ORDER BY number"
        return [words for (words,) in self._conn.execute(query, (first,))]

    def _count(self, first: int) -> int:
        query = "SELECT count(*) FROM noop_result WHERE number >= %s"
        (count,) = self._conn.execute(query, (first,)).fetchone() or (0,)
        return int(count)


if __name__ == "__main__":
    from benchmarks.peers import procrastinate_queue

    command = [
        sys.executable,
        "-m",
        "procrastinate",
        "--app",
        "benchmarks.peers.procrastinate_queue.app",
        "worker",
    ]
    command += ["--concurrency", str(CONCURRENCY)]
    serve(procrastinate_queue.ProcrastinateQueue, *[command] * WORKERS)
