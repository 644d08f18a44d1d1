"""`up` as a process: children that die, stops, and being killed. The children are shell commands."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from tests.fixtures.processes import answer_of, living, program, wait_until

# Writes its process id down, says that all is ready, and stays.
STAYS = 'echo $$ >> "$HOME_FOLDER"/{name}; touch "$HOME_FOLDER"/ready; exec sleep 60'
# Hears requests to stop and goes on.
DEAF = "trap '' TERM; " + STAYS.removesuffix("exec sleep 60") + "while :; do sleep 0.1; done"


@contextmanager
def supervised(home: Path, *, stop_seconds: float = 5.0, **children: str) -> Iterator[subprocess.Popen[str]]:
    """A supervisor that is ready, with children by name."""
    arguments = [f"{name}={command.format(name=name)}" for name, command in children.items()]
    with program("run_supervisor.py", home, stop_seconds, *arguments) as process:
        yield process
        process.terminate()


def starts(home: Path, name: str) -> list[int]:
    """The process ids that this child has had so far."""
    try:
        return [int(line) for line in (home / name).read_text().split()]
    except FileNotFoundError:
        return []


def family(process: subprocess.Popen[str]) -> list[int]:
    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


def wait_for_ready(process: subprocess.Popen[str]) -> dict[str, int]:
    """Postgres' and Redis' processes, once the supervisor says that it is ready."""
    pids: dict[str, int] = answer_of(process)["pids"]
    assert answer_of(process) == {"ready": True}
    return pids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_everything(home: Path, number: signal.Signals) -> None:
    with supervised(home, one=STAYS, two=STAYS) as process:
        wait_for_ready(process)
        wait_until(lambda: bool(starts(home, "one") and starts(home, "two")), 5, "both children run")
        pids = family(process)
        process.send_signal(number)
        assert answer_of(process) == {"stopped": True}
        assert process.wait(10) == 0
        assert living(pids) == []


def test_children_are_ended_before_the_database(home: Path) -> None:
    """A slot that stops still has results to record."""
    last_words = (
        'trap \'test -S "$HOME_FOLDER"/run/redis.sock && echo 1 > "$HOME_FOLDER"/words; exit\' TERM; '
    )
    with supervised(home, one=last_words + DEAF.removeprefix("trap '' TERM; ")) as process:
        wait_for_ready(process)
        process.terminate()
        assert answer_of(process) == {"stopped": True}
    assert (home / "words").read_text() == "1\n"


def test_a_child_that_does_not_stop_is_killed_after_its_time(home: Path) -> None:
    with supervised(home, stop_seconds=0.5, deaf=DEAF) as process:
        wait_for_ready(process)
        began = time.monotonic()
        process.terminate()
        assert answer_of(process) == {"stopped": True}
        assert time.monotonic() - began >= 0.5
    assert living(starts(home, "deaf")) == []


def test_a_second_signal_does_not_wait(home: Path) -> None:
    with supervised(home, stop_seconds=60, deaf=DEAF) as process:
        wait_for_ready(process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert answer_of(process) == {"stopped": True}
    assert living(starts(home, "deaf")) == []


def test_killing_the_supervisor_leaves_nothing_running(home: Path) -> None:
    with supervised(home, one=STAYS, deaf=DEAF) as process:
        wait_for_ready(process)
        wait_until(lambda: bool(starts(home, "one") and starts(home, "deaf")), 5, "both children run")
        pids = family(process)
        assert len(pids) > 4
        process.kill()
        wait_until(lambda: not living(pids), 10, "every process of the service has ended")


def test_a_child_that_dies_is_started_again_ever_more_slowly(home: Path) -> None:
    dies = 'date +%s%N >> "$HOME_FOLDER"/{name}; exit 3'
    (home / "ready").touch()
    with supervised(home, stays=STAYS, dies=dies) as process:
        wait_for_ready(process)
        wait_until(lambda: len(starts(home, "dies")) >= 4, 15, "it has been started four times")
        times = [at / 1e9 for at in starts(home, "dies")]
        pauses = [later - earlier for earlier, later in pairwise(times)]
        assert pauses[0] >= 0.5
        assert pauses[1] >= 1.0
        assert pauses[2] >= 2.0
        assert len(starts(home, "stays")) == 1


@pytest.mark.parametrize("service", ["Postgres", "Redis"])
def test_a_server_that_is_killed_comes_back(home: Path, service: str) -> None:
    with supervised(home, one=STAYS) as process:
        pids = wait_for_ready(process)
        os.kill(pids[service], signal.SIGKILL)
        program_name = {"Postgres": "postgres", "Redis": "redis-server"}[service]

        def is_back() -> bool:
            children = psutil.Process(process.pid).children()
            return any(child.name() == program_name and child.pid != pids[service] for child in children)

        wait_until(is_back, 10, f"{service} is back")
        assert len(starts(home, "one")) == 1


def test_a_child_that_refuses_ends_the_start(home: Path) -> None:
    with supervised(home, stays=STAYS.replace("touch", "echo"), refuses="exit 5") as process:
        pids = list(answer_of(process)["pids"].values())
        assert answer_of(process) == {"refused": "refuses refuses to start; its own message stands above"}
        process.wait(10)
        assert living([*pids, *starts(home, "stays")]) == []


def test_a_child_that_never_comes_up_ends_the_start(home: Path) -> None:
    with supervised(home, broken="exit 1") as process:
        answer_of(process)
        answers = [answer_of(process) for _ in range(4)]
        assert answers[:3] == 3 * [{"tidied": True}]
        assert "broken has ended 4 times" in answers[3]["refused"]


def test_a_signal_while_starting_ends_what_has_started(home: Path) -> None:
    with supervised(home, one=STAYS) as process:
        wait_until(lambda: bool(family(process)), 10, "a server has been started")
        pids = family(process)
        process.terminate()
        process.wait(10)
        assert living(pids) == []
