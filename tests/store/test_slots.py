"""Slots: who owns which cores, and what comes free when a process is gone."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from store import leases, slots
from store.chunks import Claim
from store.errors import CoresTaken
from store.slots import SlotLease

Conn = psycopg.Connection[Any]


def register(conn: Conn, cores: list[int] | None, **changes: Any) -> SlotLease:
    values: dict[str, Any] = {
        "boot_id": "boot", "host": socket.gethostname(), "pid": os.getpid(), "families": ["echo", "bert"],
        "available": [0, 1, 2, 3], "lease_seconds": 30.0,
    }  # fmt: skip
    return slots.register(conn, cores=cores, **(values | changes))


@pytest.fixture
def ended_pid() -> int:
    """The pid of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def zombie_pid() -> Iterator[int]:
    """The pid of a process that has ended and that nobody has waited for."""
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.stdout.close()
    process.wait()


def test_a_core_belongs_to_one_slot_of_a_host(conn: Conn) -> None:
    assert register(conn, [0, 1]).cores == [0, 1]
    with pytest.raises(CoresTaken) as taken:
        register(conn, [1, 2])
    assert taken.value.holders == {1: f"{socket.gethostname()}:{os.getpid()}"}
    assert "core 1" in str(taken.value)
    assert register(conn, [2]).cores == [2]
    assert register(conn, [0, 1], boot_id="another host").cores == [0, 1]


def test_a_refused_slot_leaves_nothing(conn: Conn, wait_for: Callable[..., Any]) -> None:
    register(conn, [1])
    with pytest.raises(CoresTaken):
        register(conn, [0, 1])
    assert [slot.cores for slot in wait_for(slots.live)] == [[1]]


def test_without_a_wish_a_slot_gets_a_free_core_that_it_may_use(conn: Conn) -> None:
    register(conn, [0, 2])
    assert register(conn, None).cores == [1]
    assert register(conn, None).cores == [3]
    with pytest.raises(CoresTaken) as taken:
        register(conn, None)
    assert set(taken.value.holders) == {0, 1, 2, 3}
    assert register(conn, None, available=[3, 7]).cores == [7]


def test_slots_that_start_together_get_different_cores(open_connection: Callable[[], Conn]) -> None:
    got: list[list[int]] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        conn = open_connection()
        barrier.wait()
        got.append(register(conn, None).cores)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [[0], [1], [2], [3]]


def test_a_slot_that_fell_silent_loses_its_cores_to_the_next(conn: Conn) -> None:
    silent = register(conn, [0], lease_seconds=-1.0)
    assert register(conn, [0]).cores == [0]
    assert not slots.renew(conn, silent.slot_id, 30.0)


def test_a_renewed_slot_shows_what_it_has_loaded(conn: Conn, wait_for: Callable[..., Any]) -> None:
    slot = register(conn, [1, 0], lease_seconds=-1.0)
    assert wait_for(slots.live) == []
    status = slots.SlotStatus(
        model="all-minilm-l6-v2",
        runtime="openvino",
        loaded=["all-minilm-l6-v2", "echo"],
        working_on="job_x:3",
        rate=2.5,
        memory_mb=400,
    )
    assert slots.renew(conn, slot.slot_id, 30.0, status)
    (row,) = wait_for(slots.live)
    assert (row.id, row.cores, row.families) == (slot.slot_id, [0, 1], ["echo", "bert"])
    assert (row.model, row.runtime) == ("all-minilm-l6-v2", "openvino")
    assert row.loaded == ["all-minilm-l6-v2", "echo"]
    assert (row.working_on, row.rate, row.memory_mb) == ("job_x:3", 2.5, 400)
    assert (slots.count(conn, "bert"), slots.count(conn, "whisper")) == (1, 0)


def test_a_slot_that_leaves_frees_cores_and_chunks(
    conn: Conn, new_job: Callable[..., int], take: Callable[..., Claim], take_over: Callable[..., Claim]
) -> None:
    slot = register(conn, [0])
    new_job(1)
    claim = take(slot_id=slot.slot_id)
    slots.leave(conn, slot.slot_id)
    assert register(conn, [0]).cores == [0]
    again = take_over(slot_id=2)
    assert again is not None
    assert (again.chunk_id, again.losses) == (claim.chunk_id, 1)


def test_the_slots_of_processes_that_are_gone_are_freed_at_once(
    conn: Conn,
    new_job: Callable[..., int],
    take: Callable[..., Claim],
    take_over: Callable[..., Claim],
    ended_pid: int,
    zombie_pid: int,
) -> None:
    alive, dead = register(conn, [0]), register(conn, [1], pid=ended_pid)
    zombie = register(conn, [2], pid=zombie_pid)
    elsewhere = register(conn, [3], pid=ended_pid, host="a container")
    other_boot = register(conn, [0], pid=ended_pid, boot_id="before the restart")
    new_job(2)
    lost, kept = (take(slot_id=slot.slot_id, default_size=1) for slot in (dead, alive))

    assert slots.free_dead(conn, "boot") == [dead.slot_id, zombie.slot_id]
    again = take_over(slot_id=9)
    assert again is not None
    assert again.chunk_id == lost.chunk_id
    assert leases.renew(conn, [kept.ref], 30.0) == {kept.chunk_id}
    for slot in (alive, elsewhere, other_boot):
        assert slots.renew(conn, slot.slot_id, 30.0)


def test_a_process_under_a_reused_pid_is_not_the_slot(conn: Conn) -> None:
    slot = register(conn, [0])
    conn.execute("UPDATE slot SET started_at = now() - interval '30 days'")
    assert slots.free_dead(conn, "boot") == [slot.slot_id]
