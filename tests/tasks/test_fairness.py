"""Callers share slots: whoever came first does not have them alone."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from store import turns
from tasks.controller import Controller
from tests.tasks.slot import submit, text
from tests.tasks.test_drain import conn, results_of, slot, state_of
from tests.tasks.test_drain_order import draining, wait_until

__all__ = ["conn", "slot"]  # the fixtures

Conn = psycopg.Connection[Any]
ITEMS = 10_000


def submit_as_another(conn: Conn, database_url: str, bodies: list[dict[str, str]], **asked: Any) -> int:
    """A job of an API key of its own: its id."""
    conn.execute("UPDATE job SET ready = false")  # until both are there
    job_id = submit(database_url, bodies, **asked)
    conn.execute("""
        WITH new AS (INSERT INTO api_key (project_id, name) VALUES (1, 'another') RETURNING id)
        UPDATE job SET key_id = new.id FROM new WHERE job.id = (SELECT max(id) FROM job)""")
    conn.execute("UPDATE job SET ready = true")
    return job_id


@pytest.mark.slow
def test_two_keys_with_ten_thousand_items_each_finish_together(
    slot: Callable[..., Controller], conn: Conn, database_url: str
) -> None:
    bodies = [text(n) for n in range(ITEMS)]
    slots = [slot(drain_seconds=120.0) for _ in range(2)]
    spec = "name: steady\nfamily: echo\noptions:\n  delay_ms: 1\n"
    (slots[0].settings.specs_folder / "steady.yaml").write_text(spec)
    first = submit(database_url, bodies, model="steady")
    second = submit_as_another(conn, database_url, bodies, model="steady")
    with ExitStack() as stack:
        for controller in slots:
            stack.enter_context(draining(controller))
        wait_until(lambda: {state_of(conn, job_id) for job_id in (first, second)} == {"finalizing"}, 120)
    # By what was claimed when the last part of the one was: a time would depend on the machine.
    row = conn.execute("""
        SELECT sum(hi - lo) FROM chunk
        WHERE id <= (SELECT min(last) FROM (SELECT max(id) AS last FROM chunk GROUP BY job_id) AS ends)
    """).fetchone()
    assert row is not None
    assert row[0] > 2 * ITEMS / 1.15


def test_two_keys_share_a_slot_also_with_models_of_their_own(
    slot: Callable[..., Controller], conn: Conn, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one whose model is loaded does not keep the slot to itself while its parts last."""
    monkeypatch.setattr(turns, "AFFINITY_SECONDS", 2.0)
    first = submit(database_url, [text(n) for n in range(1500)], model="echo-slow")
    other = submit_as_another(conn, database_url, [text(n) for n in range(20)])
    controller = slot(drain_seconds=120.0)
    controller.pace.learn({"echo-slow": 0.02})
    with draining(controller):
        wait_until(lambda: state_of(conn, other) == "finalizing", 60)
        assert 0 < len(results_of(conn, first)) < 1500
