"""One run: the service comes up, jobs go in, faults strike, all ends, and everything is checked."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx
import msgspec
import psycopg

from tests.chaos.callers import Call, Caller, Observer
from tests.chaos.checks import check_job, check_rest, check_webhooks
from tests.chaos.faults import Fault
from tests.chaos.homes import KEYS, copy_home, remove_home
from tests.chaos.plan import RunPlan
from tests.chaos.receiver import Receiver
from tests.chaos.running import Running
from tests.chaos.submitting import submit, submit_stubbornly, wait_for_ends

LEASE_SECONDS = 3.0
END_SECONDS = 90.0  # after the last fault; a quiet machine needs about five
DELIVERY_SECONDS = 60.0  # after the last job; the second attempt comes after five
SETTINGS = {
    "lease_seconds": str(LEASE_SECONDS),
    "stall_seconds": "3",
    "drain_seconds": "5",
    "stop_seconds": "2",
    "engine_nice": "0",  # a busy machine must not let an engine starve until it seems to hang
    "slots": "2",
    "offline": "true",
    "webhook_allow": "127.0.0.0/8",
    "log_format": "json",
}


class Recovery(msgspec.Struct, kw_only=True):
    """In seconds: the longest time without a recorded result from a fault on (until the next one, or ten
    seconds after its end); from the fault until an awaited call that was sent after it was answered, and
    until all that the victim held was done or with another. None where the next fault came first, or there
    was nothing to wait for."""

    kind: str
    happened: bool
    silence: float | None
    call: float | None
    held: float | None


class Outcome(msgspec.Struct, kw_only=True):
    """What came of a run. `fenced` counts stale writers."""

    seed: int
    seconds: float
    violations: list[str]
    recoveries: list[Recovery]
    fenced: int
    reclaimed: int
    calls: int
    failed_calls: int
    tracebacks: int


@dataclass
class Run:
    """A run in progress."""

    plan: RunPlan
    service: Running
    receiver: Receiver
    observer: Observer | None = None
    caller: Caller | None = None
    faults: list[Fault] = field(default_factory=list)
    job_ids: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def client(self, key: int) -> httpx.Client:
        return httpx.Client(
            base_url=self.service.url, timeout=30, headers={"Authorization": f"Bearer {KEYS[key]}"}
        )

    def go(self, stack: ExitStack) -> None:
        """Everything up to the checks."""
        self.service.start()
        stack.callback(self.service.stop)
        clients = [stack.enter_context(self.client(key)) for key in range(len(KEYS))]
        self._register(clients[0])
        self.observer = Observer(self.service.database_url)
        self.caller = Caller(self.service.url, KEYS[1])
        for thread in (self.observer, self.caller):
            thread.start()
            stack.callback(thread.end)
        for job in self.plan.jobs:
            url = self.receiver.url if job.own_webhook else None
            self.job_ids.append(submit(clients[job.key], job, url))
        for number, planned in enumerate(self.plan.faults):
            time.sleep(planned.pause)
            wave = self.plan.waves[number]
            self.job_ids.append(submit_stubbornly(clients[wave.key], wave, self.receiver.url))
            fault = Fault(self.service, planned, LEASE_SECONDS)
            self.faults.append(fault)
            fault.strike()
            self.observer.watch(number, fault.held)
        if left := wait_for_ends(clients[0], self.job_ids, END_SECONDS):
            self.violations.append(f"jobs that have not ended: {left}")
        self._await_a_call()

    def _register(self, client: httpx.Client) -> None:
        types = ["job.completed", "batch.completed"]
        body = {"name": "chaos", "url": self.receiver.url, "event_types": types}
        reply = client.post("/v1/webhook_endpoints", json=body)
        assert reply.status_code == 200, reply.text
        self.secrets.append(reply.json()["signing_secret"])

    def _await_a_call(self) -> None:
        """One that was sent after the last fault."""
        assert self.caller is not None
        deadline = time.monotonic() + END_SECONDS
        last = self.faults[-1].over_at if self.faults else 0.0
        while not any(call.sent_at > last for call in self.caller.calls):
            if time.monotonic() > deadline:
                self.violations.append("no call was answered after the last fault")
                return
            time.sleep(0.05)

    def check(self) -> None:
        """Ask the service and its database, both quiet by now."""
        assert self.caller is not None
        self.violations += self.caller.unexpected
        with psycopg.connect(self.service.database_url, autocommit=True) as conn, self.client(0) as client:
            for job, job_id in zip([*self.plan.jobs, *self.plan.waves], self.job_ids, strict=True):
                self.violations += check_job(client, conn, job, job_id)
            self.violations += check_rest(conn)
            self._await_deliveries(conn)
            (own,) = conn.execute("SELECT webhook_secret FROM project WHERE id = 1").fetchone() or (None,)
            secrets = [*self.secrets, *([own] if own else [])]
            (jobs,) = conn.execute("SELECT count(*) FROM job WHERE view IN ('job', 'batch')").fetchone() or (
                0,
            )
            if jobs != len(self.job_ids):
                self.violations.append(f"{len(self.job_ids)} jobs were submitted, there are {jobs}")
            self.violations += check_webhooks(conn, self.job_ids, self.receiver.got, secrets)

    def _await_deliveries(self, conn: psycopg.Connection) -> None:
        deadline = time.monotonic() + DELIVERY_SECONDS
        while time.monotonic() < deadline:
            if conn.execute("SELECT count(*) FROM delivery WHERE state = 'pending'").fetchone() == (0,):
                return
            time.sleep(0.05)

    def recoveries(self) -> list[Recovery]:
        assert self.observer is not None
        assert self.caller is not None
        found = []
        for number, fault in enumerate(self.faults):
            later = self.faults[number + 1].at if number + 1 < len(self.faults) else float("inf")
            until = min(later, fault.over_at + 10)
            freed = self.observer.freed_at.get(number)
            found.append(
                Recovery(
                    kind=fault.kind,
                    happened=fault.happened,
                    silence=_silence(self.observer.grew_at, fault.at, until),
                    call=_since(fault.at, _answered(self.caller.calls, fault.at), later),
                    held=_since(fault.at, freed, later),
                )
            )
        return found


def _silence(grew_at: list[float], at: float, until: float) -> float | None:
    """The longest gap that ended between `at` and `until`."""
    gaps = [after - before for before, after in pairwise(grew_at) if at < after < until]
    return round(max(gaps), 3) if gaps else None


def _answered(calls: list[Call], at: float) -> float | None:
    """When the first call that was sent after `at` was answered."""
    return next((call.answered_at for call in calls if call.sent_at > at), None)


def _since(at: float, moment: float | None, later: float) -> float | None:
    return round(moment - at, 3) if moment is not None and moment < later else None


def run(plan: RunPlan, folder: Path, template: Path) -> Outcome:
    """Carry a plan out on a home of its own below `folder`, which is left there if anything is wrong."""
    home = folder / f"run-{plan.seed}"
    copy_home(template, home)
    begun = time.monotonic()
    with Receiver() as receiver, ExitStack() as stack:
        service = Running(home, models=str(folder / "models"), **SETTINGS)
        one = Run(plan, service, receiver)
        one.go(stack)
        one.check()
    log = service.log_file.read_text(errors="replace")
    outcome = Outcome(
        seed=plan.seed,
        seconds=round(time.monotonic() - begun, 1),
        violations=one.violations,
        recoveries=one.recoveries(),
        fenced=log.count('"chunk.fenced"'),
        reclaimed=log.count('"chunk.reclaimed"'),
        calls=len(one.caller.calls) if one.caller else 0,
        failed_calls=one.caller.failures if one.caller else 0,
        tracebacks=log.count("Traceback (most recent call last)"),
    )
    if not outcome.violations:
        remove_home(home)
    return outcome
