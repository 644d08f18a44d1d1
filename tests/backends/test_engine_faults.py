"""An engine in bad days: builds that crash, models that break the contract, a parent that is killed."""

import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from backends.errors import EngineDied, LoadFailed
from backends.types import Done, Failed
from tests.backends.engine_driver import Driver, assert_dies_with_its_parent, driving, part
from tests.backends.faulty_engine import FaultyEngine, faulty_spec


@pytest.fixture
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    """A faulty engine; the fault is the parameter, "" where there is none."""
    fault = getattr(request, "param", "")
    with driving(faulty_spec(fault), "faulty", tmp_path, kind=FaultyEngine) as driver:
        yield driver


def with_fault(*faults: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("driver", faults, indirect=True)


def load_error(driver: Driver) -> LoadFailed:
    with pytest.raises(LoadFailed) as caught:
        driver.ready()
    assert driver.engine.state == "dead"
    assert not psutil.pid_exists(driver.engine.pid)
    return caught.value


def code_of(driver: Driver, key: int) -> str:
    answer = driver.answers[key]
    assert isinstance(answer, Failed), answer
    return answer.error.code


# --- loading


@with_fault("load:SIGSEGV", "load:SIGILL", "load:SIGABRT", "load:SIGFPE", "load:SIGBUS")
def test_a_crash_while_loading_is_a_bad_native_build_named_by_its_runtime(driver: Driver) -> None:
    error = load_error(driver)
    assert error.code == "bad_native_build"
    assert "'faulty'" in error.message
    assert "SIG" in error.message


@with_fault("load:SIGKILL")
def test_a_kill_while_loading_is_no_bad_build(driver: Driver) -> None:
    error = load_error(driver)
    assert error.code == "model_load_failed"
    assert "memory" in error.message


@with_fault("load exits", "load raises")
def test_a_load_that_fails_says_so_without_a_path(driver: Driver) -> None:
    error = load_error(driver)
    assert error.code == "model_load_failed"
    assert "faulty" in error.message
    assert "/" not in error.message


@with_fault("load raises")
def test_the_reason_of_a_failed_load_is_in_the_log(driver: Driver) -> None:
    load_error(driver)
    assert any("ValueError" in line for line in driver.engine.log_tail)


@with_fault("load:SIGSEGV")
def test_a_failed_load_is_told_again_and_again(driver: Driver) -> None:
    first = load_error(driver)
    with pytest.raises(LoadFailed) as again:
        driver.engine.receive()
    assert again.value is first
    with pytest.raises(LoadFailed):
        driver.engine.feed([part(1, input="x")])


def test_cores_that_this_machine_has_not_are_refused_by_number(tmp_path: Path) -> None:
    engine = FaultyEngine(faulty_spec(), "faulty", tmp_path, [4095])
    try:
        assert "4095" in load_error(Driver(engine)).message
    finally:
        engine.kill()


def test_an_unknown_runtime_is_refused_by_name(tmp_path: Path) -> None:
    with driving(faulty_spec(), "imaginary", tmp_path, kind=FaultyEngine) as driver:
        assert "imaginary" in load_error(driver).message


@with_fault("writes nonsense")
def test_an_engine_that_talks_nonsense_is_ended(driver: Driver) -> None:
    load_error(driver)


# --- computing


def test_a_crash_tells_its_signal_and_what_was_in_flight(driver: Driver) -> None:
    driver.ready()
    driver.embed(input="fine")
    driver.engine.feed([part(101, body=b"crash")])
    driver.wait(lambda: 101 in driver.engine.in_flight)
    driver.engine.feed([part(102, input="behind it")])
    with pytest.raises(EngineDied) as caught:
        driver.wait(lambda: False)
    assert caught.value.signal == signal.SIGSEGV
    assert caught.value.in_flight == {101}
    assert driver.engine.held == {102}
    assert "SIGSEGV" in caught.value.message


def test_a_crash_is_noticed_at_once_by_pidfd_and_fileno(driver: Driver) -> None:
    driver.ready()
    driver.wait(lambda: driver.engine.room > 0)
    for fd in (driver.engine.pidfd, driver.engine.fileno()):
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert not poll.poll(0)
    os.kill(driver.engine.pid, signal.SIGABRT)
    for fd in (driver.engine.pidfd, driver.engine.fileno()):
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(1000)


def test_answers_given_before_a_crash_count(driver: Driver) -> None:
    driver.ready()
    driver.engine.feed([part(1, input="fine"), part(2, input="fine")])
    driver.wait(lambda: len(driver.started) == 2)
    driver.engine.feed([part(3, body=b"crash")])
    time.sleep(0.3)  # all of it has happened before we listen
    with pytest.raises(EngineDied):
        driver.wait(lambda: False)
    assert all(isinstance(driver.answers[key], Done) for key in (1, 2))


@pytest.mark.parametrize("body", [b"hang", b"hang with the GIL"])
def test_a_hanging_engine_can_be_killed_and_tells_what_it_had(driver: Driver, body: bytes) -> None:
    driver.ready()
    driver.engine.feed([part(1, body=body)])
    driver.wait(lambda: 1 in driver.engine.in_flight)
    driver.engine.kill()
    driver.engine.kill()  # once more does no harm
    assert driver.engine.state == "dead"
    assert driver.engine.in_flight == {1}
    assert not psutil.pid_exists(driver.engine.pid)
    with pytest.raises(EngineDied) as caught:
        driver.engine.receive()
    assert caught.value.signal == signal.SIGKILL


def test_a_cancelled_part_in_a_hanging_call_stays_in_flight(driver: Driver) -> None:
    driver.ready()
    driver.engine.feed([part(1, body=b"hang")])
    driver.wait(lambda: 1 in driver.engine.in_flight)
    driver.engine.cancel([1])
    with pytest.raises(AssertionError, match="nothing after"):
        driver.wait(lambda: not driver.engine.in_flight, seconds=0.5)


@pytest.mark.parametrize(
    ("body", "code"), [(b"raise", "engine_error"), (b"raise with a code", "non_finite_output")]
)
def test_a_defect_fails_what_was_in_flight_and_the_engine_goes_on(
    driver: Driver, body: bytes, code: str
) -> None:
    driver.ready()
    pid = driver.engine.pid
    driver.engine.feed([part(1, body=body)])
    driver.wait(lambda: 1 in driver.answers)
    assert code_of(driver, 1) == code
    assert driver.embed(input="goes on").tokens == 2
    assert driver.engine.pid == pid


@with_fault("takes and raises", "takes and returns")
def test_parts_that_a_backend_loses_are_failed(driver: Driver) -> None:
    driver.ready()
    driver.engine.feed([part(1, input="x")])
    driver.wait(lambda: 1 in driver.answers)
    assert code_of(driver, 1) == "engine_error"
    assert driver.engine.state == "ready"


@with_fault("cannot run")
def test_a_backend_that_cannot_run_at_all_ends_instead_of_spinning(driver: Driver) -> None:
    with pytest.raises((EngineDied, LoadFailed)) as caught:
        driver.wait(lambda: False)
    assert isinstance(caught.value, EngineDied)
    assert caught.value.signal is None
    assert any("cannot run" in line for line in driver.engine.log_tail)


@with_fault("talks too much")
def test_answers_too_many_and_of_unknown_parts_are_logged_and_ignored(driver: Driver) -> None:
    driver.ready()
    driver.engine.feed([part(1, input="x")])
    driver.wait(lambda: 1 in driver.answers)
    driver.wait(lambda: any("999" in line for line in driver.engine.log_tail))
    assert driver.answers[1] == Done(1, b"first")
    assert driver.embed(input="goes on").tokens == 2
    assert 999 not in driver.started


# --- the parent's end

PARENT = """
import sys, time
from pathlib import Path
from tests.backends.engine_driver import part
from tests.backends.faulty_engine import FaultyEngine, faulty_spec
engine = FaultyEngine(faulty_spec(), "faulty", Path(), [])
engine.feed([part(1, body=sys.argv[1].encode())])
while not engine.in_flight:
    engine.receive()
    time.sleep(0.01)
print(engine.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("body", ["hang", "hang with the GIL"])
def test_a_killed_parent_takes_an_engine_in_a_native_call_with_it(body: str) -> None:
    assert_dies_with_its_parent(PARENT, body)
