"""The fault switches of the echo family, in real engines: only chosen items set one off."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backends.errors import EngineDied
from backends.types import Done, Failed
from configs.families import EchoOptions
from configs.models import ModelSpec
from tests.backends.engine_driver import Driver, driving, part

ROOT = Path(__file__).parents[2]
Start = Callable[..., Driver]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts echo engines with options; ends them afterwards."""
    opened = []

    def start_one(**options: object) -> Driver:
        spec = ModelSpec(name="echo", family="echo", options=options)
        opened.append(driving(spec, "echo", tmp_path))
        return opened[-1].__enter__()

    yield start_one
    for one in opened:
        one.__exit__(None, None, None)


def test_without_switches_no_text_is_special(start: Start) -> None:
    start().embed(input=["crash", "hang", "leak", "fail"])


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT"])
def test_a_chosen_item_ends_the_engine_with_all_that_is_in_flight(start: Start, name: str) -> None:
    driver = start(crash_on="poison", crash_signal=name)
    driver.ready()
    driver.wait(lambda: driver.engine.room >= 2)
    driver.engine.feed([part(1, input="good"), part(2, input=["fine", "a poisonous one"])])
    with pytest.raises(EngineDied, match=name) as caught:
        driver.wait(lambda: False)
    assert caught.value.in_flight == {1, 2}


def test_a_chosen_item_never_ends_and_says_before_that_it_has_begun(start: Start) -> None:
    driver = start(hang_on="stuck")
    driver.ready()
    driver.engine.feed([part(1, input="a stuck one")])
    driver.wait(lambda: driver.started == [1])
    time.sleep(0.3)
    driver.receive()
    assert driver.engine.in_flight == {1}


def test_a_chosen_item_takes_longer(start: Start) -> None:
    driver = start(sleep_on="slow", sleep_ms=400)
    driver.embed(input="quick")
    began = time.monotonic()
    driver.embed(input="a slow one")
    assert time.monotonic() - began >= 0.4


def test_a_chosen_item_leaves_resident_memory_behind(start: Start) -> None:
    driver = start(leak_on="leaky", leak_mb=80)
    driver.embed(input="tight")
    process = psutil.Process(driver.engine.pid)
    before = process.memory_info().rss
    driver.embed(input="a leaky one")
    driver.embed(input="tight")
    assert process.memory_info().rss - before > 75 * 1024**2


def test_a_chosen_item_fails_and_its_neighbour_does_not(start: Start) -> None:
    driver = start(fail_on="bad")
    good, bad = driver.compute([part(1, input="good"), part(2, input="a bad one")])
    assert isinstance(good, Done)
    assert isinstance(bad, Failed)
    assert bad.error.code == "engine_error"


def test_a_chosen_item_whose_body_is_wrong_gets_its_own_error(start: Start) -> None:
    assert start(crash_on="x").fail(b'{"input": "x", "model": 5}').error.code == "invalid_type"


def test_the_page_lists_every_option_and_no_other() -> None:
    section = (ROOT / "docs" / "operations.md").read_text().partition("## Testing without luck")[2]
    names = re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE)
    assert names == list(EchoOptions.model_fields)
