"""Claims, records, takeovers, fences, strikes, ends and retries against a model in memory: hypothesis looks
for an order of events in which the store and the model disagree, or a part is lost or counted twice."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from store import items, jobs, leases, lifecycle, records, retries
from store.chunks import Claim
from store.ids import new_suffix
from store.retries import Retry

Conn = psycopg.Connection[Any]
LEASE = 1000.0  # leases end by the rule `lose`, not by the clock
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass
class JobModel:
    """`added` parts go by their number to the item that they belong to; `names` are custom_ids."""

    id: int
    names: list[str]
    parts: int
    next_part: int = 0
    next_added: int = 0
    state: str = "queued"
    recorded: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    added: dict[int, int] = field(default_factory=dict)
    strikes: dict[int, int] = field(default_factory=dict)

    @property
    def items(self) -> int:
        return len(self.names)

    @property
    def open(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def failed(self) -> int:
        return sum(status != 200 for status, _ in self.recorded.values())

    def cut(self, size: int) -> tuple[int, int]:
        """The next parts that are claimed: those that were added come first."""
        begun = self.next_added < len(self.added)
        lo = self.items + self.next_added if begun else self.next_part - self.next_added
        hi = min(lo + size, self.parts if begun else self.items)
        self.next_part += hi - lo
        self.next_added += hi - lo if begun else 0
        return lo, hi

    def undone(self) -> list[str]:
        """The items of which a part failed, or was not reached."""
        bad = {n for n in range(self.parts) if self.recorded.get(n, (0, b""))[0] != 200}
        return [name for n, name in enumerate(self.names) if bad & {n, *self._added_to(n)}]

    def _added_to(self, item: int) -> set[int]:
        return {part for part, of_item in self.added.items() if of_item == item}


@dataclass
class ChunkModel:
    job: JobModel
    claim: Claim  # the one that holds
    held: bool = True  # the lease runs
    done: bool = False
    losses: int = 0


class Machine(RuleBasedStateMachine):
    """`holders` are claims that somebody holds or believes to hold: stale ones stay in."""

    holders = Bundle("holders")
    conn: Conn
    new_job: Callable[..., int]
    take: Callable[..., Claim | None]
    wait_for: Callable[..., Any]

    def __init__(self) -> None:
        super().__init__()
        self.conn.execute("DELETE FROM job")
        self.conn.execute("DELETE FROM webhook_event")
        self.jobs: dict[int, JobModel] = {}
        self.chunks: dict[int, ChunkModel] = {}

    # --- what callers and slots do ----------------------------------------------------------------------

    @precondition(lambda self: len(self.jobs) < 4)
    @rule(parts=st.integers(1, 5))
    def submit(self, parts: int) -> None:
        job_id = self.new_job(parts)
        self.jobs[job_id] = JobModel(job_id, names=[f"item-{n}" for n in range(parts)], parts=parts)

    @rule(target=holders, size=st.integers(1, 3))
    def claim(self, size: int) -> Any:
        claim = self.take(default_size=size, lease_seconds=LEASE)
        heads = [job for job in self.jobs.values() if job.open and job.next_part < job.parts]
        if not heads:
            assert claim is None
            return multiple()
        job = heads[0]
        assert claim is not None
        lo, hi = job.cut(size)
        assert (claim.job_id, claim.lo, claim.hi, claim.epoch, claim.losses) == (job.id, lo, hi, 1, 0)
        job.state = "running"
        self.chunks[claim.chunk_id] = ChunkModel(job, claim)
        return claim

    @rule(target=holders)
    def reclaim(self) -> Any:
        claim = leases.reclaim(
            self.conn,
            slot_id=2,
            families=["echo"],
            lanes=["interactive", "bulk"],
            cores=1,
            lease_seconds=LEASE,
            only_model=None,
        )
        lost = {
            chunk_id
            for chunk_id, chunk in self.chunks.items()
            if not chunk.held and not chunk.done and chunk.job.state == "running"
        }
        if not lost:
            assert claim is None
            return multiple()
        assert claim is not None
        assert claim.chunk_id in lost
        chunk = self.chunks[claim.chunk_id]
        before = chunk.claim
        assert (claim.lo, claim.hi, claim.epoch) == (before.lo, before.hi, before.epoch + 1)
        assert claim.losses == chunk.losses
        chunk.claim, chunk.held = claim, True
        return claim

    @rule(holder=holders)
    def lose(self, holder: Claim) -> None:
        """The holder falls silent for longer than its lease."""
        self.conn.execute(
            "UPDATE chunk SET lease_until = now() - interval '1 second' WHERE id = %s AND state = 'running'",
            (holder.chunk_id,),
        )
        chunk = self.chunks[holder.chunk_id]
        if not chunk.done:
            chunk.losses, chunk.held = chunk.claim.losses + 1, False

    @rule(target=holders, holder=holders)
    def take_over(self, holder: Claim) -> Any:
        self.lose(holder)
        return self.reclaim()

    @rule(holder=holders)
    def release(self, holder: Claim) -> None:
        leases.release(self.conn, [holder.ref])
        chunk = self.chunks[holder.chunk_id]
        if self._holds(holder):
            chunk.losses, chunk.held = chunk.claim.losses, False

    @rule(holder=holders)
    def renew(self, holder: Claim) -> None:
        ours = leases.renew(self.conn, [holder.ref], LEASE)
        assert ours == ({holder.chunk_id} if self._holds(holder) else set())
        if ours:
            self.chunks[holder.chunk_id].held = True

    @rule(
        holder=holders,
        chosen=st.just({0, 1, 2}) | st.sets(st.integers(0, 2), min_size=1),
        status=st.sampled_from([200, 200, 500]),
        done=st.sampled_from([False, False, True]),
        grows=st.booleans(),
    )
    def record(self, holder: Claim, chosen: set[int], status: int, done: bool, grows: bool) -> None:
        """Also by holders that were replaced since: what they write is void."""
        numbers = [n for n in range(holder.lo, holder.hi) if n - holder.lo in chosen]
        data = b"epoch %d" % holder.epoch
        rows = [records.PartResult(n, status, 1, data) for n in numbers]
        job = self.jobs[holder.job_id]
        firsts = [n for n in numbers if n < job.items][:1] if grows else []
        recorded = records.record(
            self.conn, holder.ref, rows, lease_seconds=LEASE, chunk_done=done,
            more=[records.Addition(n, [b"more"]) for n in firsts],
        )  # fmt: skip
        assert recorded.fenced == (not self._holds(holder))
        if recorded.fenced:
            return
        chunk = self.chunks[holder.chunk_id]
        chunk.held, chunk.done = True, done
        for n in firsts:
            if n not in job.recorded:
                job.added[job.parts] = n
                job.parts += 1
        for n in numbers:
            job.recorded.setdefault(n, (status, data))
        finished = job.state == "running" and len(job.recorded) == job.parts
        assert recorded.job_finished == finished
        if finished:
            job.state = "finalizing"
        assert recorded.state == job.state

    @rule(holder=holders, part=st.integers(0, 2))
    def strike(self, holder: Claim, part: int) -> None:
        """An engine has crashed on a part: that counts, whoever saw it."""
        n, job = min(holder.lo + part, holder.hi - 1), self.jobs[holder.job_id]
        job.strikes[n] = job.strikes.get(n, 0) + 1
        assert records.strike(self.conn, job.id, n, "SIGSEGV") == job.strikes[n]

    # --- what ends jobs ---------------------------------------------------------------------------------

    @precondition(lambda self: len(self.chunks) > 2 and any(job.open for job in self.jobs.values()))
    @rule(data=st.data(), end=st.sampled_from(["fail", "expire", "cancel"]))
    def end(self, data: st.DataObject, end: str) -> None:
        job = data.draw(st.sampled_from([job for job in self.jobs.values() if job.open]))
        if end == "fail":
            assert lifecycle.fail(self.conn, job.id, "server_error", "")
            job.state = "failed"
            self._close(job)
        elif end == "cancel":
            self.wait_for(jobs.request_cancel, job.id)
            job.state = "cancelling"
        else:
            self.conn.execute("UPDATE job SET deadline = now() WHERE id = %s", (job.id,))
            assert [row.id for row in lifecycle.expire_due(self.conn)] == [job.id]
            assert lifecycle.expire(self.conn, job.id, None, None)
            job.state = "expired"
            self._close(job)

    @rule()
    def settle(self) -> None:
        held = {chunk.job.id for chunk in self.chunks.values() if chunk.held and not chunk.done}
        quiet = [job for job in self.jobs.values() if job.state == "cancelling" and job.id not in held]
        assert [row.id for row in lifecycle.settle_cancelling(self.conn)] == [job.id for job in quiet]
        for job in quiet:
            assert lifecycle.finish_cancelled(self.conn, job.id, None, None)
            job.state = "cancelled"
            self._close(job)

    @rule()
    def finalize(self) -> None:
        row = lifecycle.next_finalizing(self.conn)
        waiting = [job for job in self.jobs.values() if job.state == "finalizing"]
        assert ([row.id] if row else []) == [job.id for job in waiting[:1]]
        if row is not None:
            assert lifecycle.complete(self.conn, row.id, None, None)
            self.jobs[row.id].state = "completed"

    @precondition(lambda self: 0 < len(self.jobs) < 7)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """A new job of the items that were left undone; none of one that is open, or where all is done."""
        ended = [job for job in self.jobs.values() if job.state in ENDED]
        job = data.draw(st.sampled_from(ended or list(self.jobs.values())))
        row = self.wait_for(jobs.load, job.id)
        again = Retry(
            suffix=new_suffix(), key_id=1, family="echo", model="echo", cores=1, priority=0,
            deadline_seconds=None,
        )  # fmt: skip
        job_id = self.wait_for(retries.insert, row, again)
        names = job.undone() if job.state in ENDED else []
        assert (job_id is not None) == bool(names)
        if job_id is not None:
            self.jobs[job_id] = JobModel(job_id, names=names, parts=len(names))

    # --- what must always hold --------------------------------------------------------------------------

    @invariant()
    def results_and_counts_are_those_of_the_model(self) -> None:
        kept: dict[int, dict[int, tuple[int, bytes]]] = {job_id: {} for job_id in self.jobs}
        for job_id, n, status, data in self.conn.execute("SELECT job_id, n, status, data FROM result"):
            kept[job_id][n] = (status, data)
        assert kept == {job.id: job.recorded for job in self.jobs.values()}
        rows = self.conn.execute(
            "SELECT id, state, parts, next_part, done, failed FROM job JOIN job_progress ON job_id = id"
        ).fetchall()
        assert {row[0]: row[1:] for row in rows} == {
            job.id: (job.state, job.parts, job.next_part, len(job.recorded), job.failed)
            for job in self.jobs.values()
        }

    @invariant()
    def every_end_is_told_once(self) -> None:
        told = self.conn.execute("SELECT job_id, type FROM webhook_event ORDER BY job_id").fetchall()
        ended = [(job.id, f"batch.{job.state}") for job in self.jobs.values() if job.state in ENDED]
        assert told == ended

    @invariant()
    def a_chunk_that_is_not_done_offers_just_what_is_unrecorded(self) -> None:
        for chunk in self.chunks.values():
            lo, hi = chunk.claim.lo, chunk.claim.hi
            left = [(part.n, part.strikes) for part in items.load_parts(self.conn, chunk.job.id, lo, hi)]
            job = chunk.job
            assert left == [(n, job.strikes.get(n, 0)) for n in range(lo, hi) if n not in job.recorded]

    def _holds(self, holder: Claim) -> bool:
        chunk = self.chunks[holder.chunk_id]
        return chunk.claim.ref == holder.ref and not chunk.done

    def _close(self, job: JobModel) -> None:
        for chunk in self.chunks.values():
            if chunk.job is job:
                chunk.done = True


@pytest.mark.slow
def test_no_order_of_events_loses_or_doubles_a_part(
    conn: Conn,
    new_job: Callable[..., int],
    take: Callable[..., Claim | None],
    wait_for: Callable[..., Any],
) -> None:
    class Bound(Machine):
        pass

    Bound.conn, Bound.new_job, Bound.take = conn, staticmethod(new_job), staticmethod(take)
    Bound.wait_for = staticmethod(wait_for)
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=200,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
