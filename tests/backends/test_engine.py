"""An engine in good days: its place on the machine, its feed, large bodies, its log, its end."""

import os
import random
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from structlog.testing import capture_logs

from backends.confinement import OOM_SCORE
from backends.engine import Engine
from backends.errors import EngineDied
from backends.types import Done, Failed, Lane
from configs.models import ModelSpec
from tests.backends.engine_driver import Driver, driving, one_core, part, result
from tests.backends.faulty_engine import FaultyEngine, faulty_spec


def echo(**options: object) -> ModelSpec:
    return ModelSpec(name="echo", family="echo", options=options)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driving(echo(), "echo", tmp_path) as driver:
        driver.ready()
        yield driver


@pytest.fixture
def slow_driver(tmp_path: Path) -> Iterator[Driver]:
    """An engine whose every part takes 20 ms."""
    with driving(echo(delay_ms=20), "echo", tmp_path) as driver:
        driver.ready()
        yield driver


def rests(engine: Engine, seconds: float = 0.2) -> bool:
    """Whether a poll loop could sleep so long."""
    poll = select.poll()
    poll.register(engine.fileno(), select.POLLIN)
    return not poll.poll(seconds * 1000)


def test_it_takes_its_place_before_the_model_is_loaded(tmp_path: Path) -> None:
    with driving(faulty_spec(), "faulty", tmp_path, kind=FaultyEngine, nice=19) as driver:
        driver.ready()
        info = driver.engine.info
        assert info["cores"] == one_core()
        assert info["nice"] == 19
        assert info["oom_score"] == OOM_SCORE
        assert set(info["threads"].values()) == {"1"}
        assert info["load_seconds"] >= 0


def test_it_does_not_get_the_settings_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHYARD_API_KEY", "not for native code")
    with driving(faulty_spec(), "faulty", tmp_path, kind=FaultyEngine) as driver:
        driver.ready()
        assert driver.engine.info["secrets"] == []


def test_a_stray_module_in_the_current_folder_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "msgspec.py").write_text("raise SystemExit('a stray module')")
    monkeypatch.chdir(tmp_path)
    with driving(echo(), "echo", tmp_path) as driver:
        driver.ready()


def test_it_says_nothing_while_nothing_happens(driver: Driver) -> None:
    driver.wait(lambda: driver.engine.room > 0)
    assert rests(driver.engine)


def test_it_says_nothing_after_its_log_was_closed(tmp_path: Path) -> None:
    with driving(faulty_spec("closes its log"), "faulty", tmp_path, kind=FaultyEngine) as driver:
        driver.ready()
        driver.wait(lambda: driver.engine.room > 0)
        driver.receive()
        assert rests(driver.engine)
        assert driver.embed(input="works").tokens == 1


def test_parts_fed_before_it_is_ready_are_computed(tmp_path: Path) -> None:
    with driving(echo(), "echo", tmp_path) as driver:
        driver.engine.feed([part(1, input="early")])
        driver.engine.close_feed()
        driver.wait(lambda: driver.engine.state == "ready")
        assert isinstance(driver.answers[1], Done)


def test_room_is_what_was_asked_for_and_not_given(slow_driver: Driver) -> None:
    engine = slow_driver.engine
    slow_driver.wait(lambda: engine.room > 0)
    asked = engine.room
    engine.feed([part(key, input="x") for key in range(asked)])
    assert engine.room == 0
    engine.feed([part(asked, lane=Lane.INTERACTIVE, input="x")])
    slow_driver.wait(lambda: len(slow_driver.answers) >= 3)
    assert 0 < engine.room < asked


def test_started_parts_are_in_flight_and_the_others_held(slow_driver: Driver) -> None:
    engine = slow_driver.engine
    engine.feed([part(key, input="x") for key in range(5)])
    assert engine.held == frozenset(range(5))
    slow_driver.wait(lambda: bool(engine.in_flight))
    assert len(engine.in_flight) == 1
    assert not engine.in_flight & engine.held
    slow_driver.wait(lambda: len(slow_driver.answers) == 5)
    assert not engine.in_flight | engine.held


def test_a_key_is_not_taken_twice(driver: Driver) -> None:
    driver.engine.feed([part(1, input="x")])
    with pytest.raises(ValueError, match="handed over before"):
        driver.engine.feed([part(1, input="x")])


def test_an_interactive_part_waits_for_one_native_call_at_most(slow_driver: Driver) -> None:
    slow_driver.engine.feed([part(key, input="x") for key in range(30)])
    slow_driver.wait(lambda: len(slow_driver.answers) >= 2)
    before = len(slow_driver.order)
    slow_driver.engine.feed([part(100, lane=Lane.INTERACTIVE, input="who waits")])
    slow_driver.wait(lambda: 100 in slow_driver.answers)
    assert slow_driver.order.index(100) - before <= 2


def test_a_cancelled_part_in_flight_is_answered_once_as_cancelled_or_done(slow_driver: Driver) -> None:
    engine = slow_driver.engine
    engine.feed([part(1, input="x"), part(2, input="y")])
    slow_driver.wait(lambda: 1 in engine.in_flight)
    engine.cancel([1, 77])  # 77 was never handed over
    slow_driver.wait(lambda: len(slow_driver.answers) == 2)
    assert isinstance(slow_driver.answers[2], Done)
    assert not engine.in_flight | engine.held


def test_waiting_parts_are_cancelled_without_waiting_for_their_turn(slow_driver: Driver) -> None:
    count = 2000  # 40 s of work
    slow_driver.engine.feed([part(key, input="x") for key in range(count)])
    slow_driver.wait(lambda: len(slow_driver.started) >= 1)
    slow_driver.engine.cancel(range(count))
    slow_driver.wait(lambda: len(slow_driver.answers) == count, seconds=20)
    cancelled = [answer for answer in slow_driver.answers.values() if isinstance(answer, Failed)]
    assert len(cancelled) > count / 2
    assert len(slow_driver.started) < count / 2


def test_closing_and_opening_in_any_order_loses_no_part(driver: Driver) -> None:
    dice = random.Random(2)
    engine = driver.engine
    for key in range(300):
        match dice.randrange(4):
            case 0:
                engine.close_feed()
            case 1:
                engine.reopen_feed()
            case 2:
                driver.receive()
        engine.feed([part(key, input="x")])
    engine.close_feed()
    driver.wait(lambda: engine.state == "ready")
    assert len(driver.answers) == 300
    assert engine.room == 0


def test_a_late_answer_to_an_old_close_does_not_count_for_a_new_one(slow_driver: Driver) -> None:
    engine = slow_driver.engine
    slow_driver.wait(lambda: engine.room > 0)
    engine.close_feed()
    assert not rests(engine, seconds=30)  # its answer is here, and not read
    engine.feed([part(1, input="x")])
    engine.close_feed()
    slow_driver.receive()
    assert (engine.state, list(slow_driver.answers)) == ("draining", [])
    slow_driver.wait(lambda: engine.state == "ready")
    assert list(slow_driver.answers) == [1]


def test_a_body_of_twenty_megabytes_passes(driver: Driver) -> None:
    words = 4_000_000
    assert driver.embed(input="word " * words).tokens == words


def test_feeding_more_than_the_pipe_takes_does_not_block(slow_driver: Driver) -> None:
    body = b'{"input": "' + b"w " * 250_000 + b'"}'
    slow_driver.wait(lambda: slow_driver.engine.room > 0)
    parts = [part(key, body=body) for key in range(40)]
    began = time.monotonic()
    slow_driver.engine.feed(parts)
    fed = time.monotonic()
    slow_driver.wait(lambda: len(slow_driver.answers) == 40)
    assert fed - began < (time.monotonic() - began) / 3


def test_results_wait_in_bounds_while_nobody_listens(tmp_path: Path) -> None:
    with driving(echo(dimensions=16_384), "echo", tmp_path) as driver:
        driver.ready()
        driver.engine.feed([part(key, input=["x"] * 32) for key in range(100)])  # 2 MB of result each
        time.sleep(1.5)
        assert psutil.Process(driver.engine.pid).memory_info().rss < 150 * 2**20
        driver.wait(lambda: len(driver.answers) == 100)
        assert all(isinstance(answer, Done) for answer in driver.answers.values())


def test_what_the_child_writes_is_logged_line_by_line(tmp_path: Path) -> None:
    with (
        capture_logs() as logs,
        driving(faulty_spec(), "faulty", tmp_path, kind=FaultyEngine) as driver,
    ):
        driver.ready()
        driver.wait(lambda: len(driver.engine.log_tail) >= 2)
    lines = {entry["line"] for entry in logs if entry["event"] == "engine.log" and entry["model"] == "faulty"}
    assert {"loaded, says Python", "loaded, says native code"} <= lines


def test_its_niceness_can_be_changed(driver: Driver) -> None:
    driver.engine.set_nice(7)
    tasks = os.listdir(f"/proc/{driver.engine.pid}/task")
    assert {os.getpriority(os.PRIO_PROCESS, int(task)) for task in tasks} == {7}


def test_polite_signals_do_not_end_it(driver: Driver) -> None:
    os.kill(driver.engine.pid, signal.SIGINT)
    os.kill(driver.engine.pid, signal.SIGTERM)
    assert driver.embed(input="still here").tokens == 2


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    engines: list[Engine] = []
    thread = threading.Thread(target=lambda: engines.append(Engine(echo(), "echo", tmp_path, one_core())))
    thread.start()
    thread.join()
    try:
        driver = Driver(engines[0])
        driver.ready()
        assert driver.embed(input="still here").tokens == 2
    finally:
        engines[0].kill()


def test_stopping_ends_it_politely(tmp_path: Path) -> None:
    with driving(echo(delay_ms=20), "echo", tmp_path) as driver:
        driver.ready()
        driver.engine.feed([part(key, input="x") for key in range(2000)])  # 40 s of work
        driver.engine.stop(timeout=20)
        assert driver.engine.state == "dead"
        with pytest.raises(EngineDied, match="exited with status 0"):
            driver.engine.receive()


def test_stopping_ends_a_hanging_one_by_force(tmp_path: Path) -> None:
    with driving(faulty_spec(), "faulty", tmp_path, kind=FaultyEngine) as driver:
        driver.ready()
        driver.engine.feed([part(1, body=b"hang")])
        driver.wait(lambda: 1 in driver.engine.in_flight)
        driver.engine.stop(timeout=0.3)
        assert not psutil.pid_exists(driver.engine.pid)
        assert driver.engine.in_flight == {1}


def test_ended_engines_leave_no_descriptor_behind(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with driving(echo(), "echo", tmp_path) as driver:
            driver.ready()
    assert len(os.listdir("/proc/self/fd")) == before


def test_results_keep_every_bit_on_their_way(driver: Driver) -> None:
    first, second = (driver.embed(input=["a b", "c"], dimensions=8) for _ in range(2))
    assert first == second
    assert np.isfinite(np.frombuffer(first.vectors, "<f4")).all()
    assert result(driver.compute([part(10**6, input=["a b", "c"])])[0]) == first
