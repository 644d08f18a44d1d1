"""What one claim costs with deep queues: a million items behind 200 jobs, and 100,000 jobs of 1,000 keys."""

import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg

from benchmarks.service import fresh_home
from store import chunks, migrate
from store.db import connect
from store.embedded.services import EmbeddedServices

CLAIMS = 1000
FEW_KEYS, MANY_KEYS = 20, 1000
# Each with the number of keys, jobs and parts per job, of each lane.
QUEUES = {
    "1 M items behind 200 jobs of 20 keys": (FEW_KEYS, {"bulk": (200, 5000)}),
    "the same and 20,000 calls that wait": (FEW_KEYS, {"bulk": (200, 5000), "interactive": (20_000, 1)}),
    "100,000 jobs of 1,000 keys": (MANY_KEYS, {"bulk": (100_000, 10)}),
    "100,000 calls of 1,000 keys": (MANY_KEYS, {"interactive": (100_000, 1)}),
}
_KEYS = "INSERT INTO api_key (project_id, name) SELECT 1, '' FROM generate_series(1, %s) RETURNING id"
_JOBS = """
INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, lane, state, ready, items, parts,
                 expected_seconds)
SELECT %(lane)s || n, 'job', 1, %(first_key)s + n %% %(keys)s, '/v1/embeddings', 'echo', 'model-' || n %% 3,
       %(lane)s, 'queued', true, %(parts)s, %(parts)s, random()
FROM generate_series(1, %(jobs)s) AS n
"""


def run(cache: Path) -> None:
    folder = fresh_home(cache)
    with EmbeddedServices(folder / "services") as services:
        migrate.upgrade(services.database_url)
        with connect(services.database_url, name="benchmark") as conn:
            for name, (keys, lanes) in QUEUES.items():
                _fill(conn, keys, lanes)
                _report(name, [_claim_seconds(conn) for _ in range(CLAIMS)])


def _fill(conn: psycopg.Connection[Any], keys: int, lanes: dict[str, tuple[int, int]]) -> None:
    conn.execute("TRUNCATE job, share, chunk CASCADE")
    first_key = min(row[0] for row in conn.execute(_KEYS, (keys,)).fetchall())
    for lane, (jobs, parts) in lanes.items():
        values = {"lane": lane, "first_key": first_key, "keys": keys, "jobs": jobs, "parts": parts}
        conn.execute(_JOBS, values)
    conn.execute("VACUUM ANALYZE")


def _claim_seconds(conn: psycopg.Connection[Any]) -> float:
    begun = time.perf_counter()
    claim = chunks.claim(
        conn,
        slot_id=1,
        families=["echo"],
        lanes=["interactive", "bulk"],
        cores=1,
        lease_seconds=30,
        sizes={},
        default_size=1,
        seconds={},
        loaded="model-1",
        only_model=None,
    )
    assert claim is not None
    return time.perf_counter() - begun


def _report(name: str, seconds: list[float]) -> None:
    print(f"claim, {name}: median {median(seconds) * 1e3:.1f} ms, "
          f"p99 {quantiles(seconds, n=100)[98] * 1e3:.1f} ms")  # fmt: skip
