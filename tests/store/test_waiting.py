"""What waits for a slot: whom to wake for it, and the jobs that no slot could take, which say so."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import jobs, leases, lifecycle, models, records, slots, waiting, watch
from store.records import PartResult

Conn = psycopg.Connection[Any]
NewJobOf = Callable[..., int]
NewSlot = Callable[..., int]

NO_SLOT = "no live slot serves family echo"


@pytest.fixture
def new_slot(conn: Conn) -> NewSlot:
    """Registers a slot of a host of its own: its id."""

    def register(*families: str, cores: int = 1) -> int:
        own = list(range(cores))
        return slots.register(
            conn, boot_id=f"boot {slots.count_on(conn, 'test')}", host="test", pid=1,
            families=families or ["echo"], cores=own, available=own, lease_seconds=60,
        ).slot_id  # fmt: skip

    return register


def note(conn: Conn, job_id: int) -> str | None:
    row = conn.execute("SELECT note FROM job WHERE id = %s", (job_id,)).fetchone()
    assert row is not None
    found: str | None = row[0]
    return found


def test_waiting_work_is_named_by_family_and_lane(
    conn: Conn, new_job: NewJobOf, take: Callable[..., Any], new_slot: NewSlot
) -> None:
    new_slot("bert", "echo")
    assert waiting.waiting_families(conn) == []
    for family, lane in [("echo", "bulk"), ("bert", "interactive"), ("bert", "bulk"), ("bert", "bulk")]:
        new_job(1, family=family, lane=lane)
    assert waiting.waiting_families(conn) == [("bert", "bulk"), ("bert", "interactive"), ("echo", "bulk")]
    claim = take()
    assert waiting.waiting_families(conn) == [("bert", "bulk"), ("bert", "interactive")]
    leases.release(conn, [claim.ref])
    assert ("echo", "bulk") in waiting.waiting_families(conn)


def test_work_that_no_live_slot_could_take_is_not_waiting(
    conn: Conn, new_job: NewJobOf, new_slot: NewSlot
) -> None:
    new_job(1, cores=4)
    new_job(1, family="whisper")
    assert waiting.waiting_families(conn) == []
    new_slot("echo", cores=2)
    assert waiting.waiting_families(conn) == []
    new_job(1, cores=2)
    assert waiting.waiting_families(conn) == [("echo", "bulk")]
    slot = new_slot("whisper")
    assert waiting.waiting_families(conn) == [("echo", "bulk"), ("whisper", "bulk")]
    slots.renew(conn, slot, -1)
    assert waiting.waiting_families(conn) == [("echo", "bulk")]


def test_a_lost_chunk_is_not_waiting_for_slots_that_are_too_narrow(
    conn: Conn, new_job: NewJobOf, take: Callable[..., Any], new_slot: NewSlot
) -> None:
    job_id = new_job(1, cores=2)
    take(cores=2, lease_seconds=-1)
    new_slot(cores=1)
    assert waiting.waiting_families(conn) == []
    assert waiting.explain(conn) == 1
    assert note(conn, job_id) == "needs 2 cores; the widest slot that serves family echo has 1"
    new_slot(cores=2)
    assert waiting.waiting_families(conn) == [("echo", "bulk")]


def test_a_job_that_no_slot_could_take_says_why_until_one_comes(
    conn: Conn, new_job: NewJobOf, new_slot: NewSlot
) -> None:
    narrow, wide = new_job(1), new_job(1, cores=4)
    assert waiting.explain(conn) == 2
    assert (note(conn, narrow), note(conn, wide)) == (NO_SLOT, NO_SLOT)
    assert waiting.explain(conn) == 0
    new_slot(cores=1)
    new_slot("bert", cores=4)
    assert waiting.explain(conn) == 2
    assert note(conn, narrow) is None
    assert note(conn, wide) == "needs 4 cores; the widest slot that serves family echo has 1"
    new_slot(cores=4)
    assert waiting.explain(conn) == 1
    assert note(conn, wide) is None


def test_a_running_job_whose_slots_are_gone_says_so(
    conn: Conn, new_job: NewJobOf, take: Callable[..., Any]
) -> None:
    job_id = new_job(4)
    take(default_size=2)
    waiting.explain(conn)
    assert note(conn, job_id) == NO_SLOT


def test_what_somebody_else_has_noted_stays(
    conn: Conn, new_job: NewJobOf, take: Callable[..., Any], new_slot: NewSlot
) -> None:
    pulled = new_job(4)
    take(default_size=2)
    watch.set_note(conn, [pulled], "waiting for the files of model 'echo'")
    assert waiting.explain(conn) == 0
    new_slot()
    assert waiting.explain(conn) == 0
    assert note(conn, pulled) == "waiting for the files of model 'echo'"


def test_a_paused_job_gives_the_reason_of_the_pause(conn: Conn, new_job: NewJobOf) -> None:
    job_id = new_job(1)
    waiting.explain(conn)
    models.pause(conn, "echo", "it crashes")
    assert waiting.explain(conn) == 0
    assert note(conn, job_id) == "it crashes"


def test_no_such_note_outlives_the_wait(
    conn: Conn, new_job: NewJobOf, take: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    """A slot may come and complete a call, or the caller cancel, before the dispatcher looks again."""
    call = new_job(1, view="call")
    waiting.explain(conn)
    claim = take()
    assert records.record(
        conn, claim.ref, [PartResult(0, 200, 1, b"")], lease_seconds=30, chunk_done=True
    ).job_finished
    batch = new_job(1)
    waiting.explain(conn)
    wait_for(jobs.request_cancel, batch)
    waiting.explain(conn)
    assert (note(conn, call), note(conn, batch)) == (None, None)
    assert [job.id for job in lifecycle.settle_cancelling(conn)] == [batch]


def test_notes_are_written_some_at_a_time_and_past_rows_that_are_locked(
    conn: Conn, new_job: NewJobOf, open_connection: Callable[[], Conn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "NOTES_AT_ONCE", 2)
    made = [new_job(1) for _ in range(4)]
    other = open_connection()
    with other.transaction():
        other.execute("SELECT FROM job WHERE id = %s FOR UPDATE", (made[1],))
        conn.execute("SET lock_timeout = '2s'")
        assert waiting.explain(conn) == 1
    assert [waiting.explain(conn) for _ in range(3)] == [2, 1, 0]
    assert {note(conn, job_id) for job_id in made} == {NO_SLOT}


def test_a_note_that_is_no_longer_true_goes_before_others_are_written(
    conn: Conn, new_job: NewJobOf, new_slot: NewSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "NOTES_AT_ONCE", 1)
    older, stuck = new_job(1, family="bert"), new_job(1)
    conn.execute("UPDATE job SET note = %s WHERE id = %s", (NO_SLOT, stuck))
    new_slot("echo")
    assert waiting.explain(conn) == 1
    assert (note(conn, older), note(conn, stuck)) == (None, None)
    assert waiting.explain(conn) == 1
    assert note(conn, older) == "no live slot serves family bert"
