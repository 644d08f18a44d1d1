"""Idle engines and the memory that they may keep."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.models import ModelSpec
from configs.settings import Settings
from store.chunks import Claim
from tasks.lane_clock import LaneClock
from tasks.memory import MemoryBudget
from tasks.pace import Pace
from tasks.work import Work
from tests.tasks.slot import settings_for
from tests.tasks.test_holding import claim, parts


def spec(name: str, memory_mb: int = 100) -> ModelSpec:
    return ModelSpec(name=name, family="echo", memory_mb=memory_mb)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.fixture
def works(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Work]]:
    """Three works whose engines take 300 MB each, `old` used first and `new` last."""
    monkeypatch.setattr("tasks.memory.resident_mb", lambda work: 300.0)
    made = []
    for name in ("old", "middle", "new"):
        made.append(Work(spec(name), settings, [0], Pace(), LaneClock(0.2)))
        made[-1].used_at = time.monotonic()
    yield made
    for work in made:
        work.shut()


def shut(settings: Settings, works: list[Work], memory_mb: int, slots: int = 1) -> list[str]:
    budget = MemoryBudget(settings.model_copy(update={"memory_mb": memory_mb}))
    return [work.spec.name for work in budget.make_room(works, spec("coming"), slots)]


def test_engines_stay_while_they_fit(settings: Settings, works: list[Work]) -> None:
    assert shut(settings, works, 1000) == []


def test_the_least_recently_used_go_first_and_no_more_than_must(
    settings: Settings, works: list[Work]
) -> None:
    assert shut(settings, works, 999) == ["old"]
    assert shut(settings, works, 500) == ["old", "middle"]


def test_the_budget_is_shared_by_the_slots(settings: Settings, works: list[Work]) -> None:
    assert shut(settings, works, 2000, slots=2) == []
    assert shut(settings, works, 2000, slots=3) == ["old", "middle"]


def test_an_engine_at_work_is_never_shut(settings: Settings, works: list[Work]) -> None:
    chunk: Claim = claim()
    works[0].holding.add(chunk, parts(0), alone=False)
    assert shut(settings, works, 1) == ["middle", "new"]


def test_an_engine_may_take_what_its_spec_says_with_some_slack_else_its_slots_part(
    settings: Settings, works: list[Work]
) -> None:
    budget = MemoryBudget(settings.model_copy(update={"memory_mb": 1000}))
    said, unsaid = works[0], works[1]
    unsaid.spec = unsaid.spec.model_copy(update={"memory_mb": None})
    assert budget.share_mb(said, slots=4) == 125
    assert budget.share_mb(unsaid, slots=4) == 250


def test_an_engine_that_was_larger_when_it_was_ready_is_not_begun_anew_for_that(
    settings: Settings, works: list[Work]
) -> None:
    budget = MemoryBudget(settings.model_copy(update={"memory_mb": 1000}))
    works[0].ready_mb = 400.0
    assert budget.share_mb(works[0], slots=4) == 500
