"""What a slot hands to an engine, and takes back when it ends, without a database or a process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from backends.engine import Engine
from backends.errors import EngineDied, LoadFailed
from backends.types import Lane, Part
from configs.models import ModelSpec
from tasks.deaths import SILENT_DEATHS
from tasks.lane_clock import LaneClock
from tasks.pace import Pace
from tasks.work import Work
from tests.tasks.slot import settings_for
from tests.tasks.test_holding import claim, parts


class PassiveEngine:
    """Keeps what it is fed, and says of itself what a test sets."""

    room = 8
    cpu_seconds = 0.0
    pid = 0

    def __init__(self) -> None:
        self.held: frozenset[int] = frozenset()
        self.in_flight: frozenset[int] = frozenset()
        self.fed: list[Part] = []

    def feed(self, parts: Sequence[Part]) -> None:
        self.fed += parts


@pytest.fixture
def work(tmp_path: Path) -> Work:
    spec = ModelSpec(name="echo", family="echo")
    return Work(spec, settings_for(tmp_path), [0], Pace(), LaneClock(0.2))


def give(work: Work) -> PassiveEngine:
    engine = PassiveEngine()
    work.engine = cast(Engine, engine)
    return engine


@pytest.mark.parametrize("lane", list(Lane))
def test_a_suspect_runs_although_somebody_always_waits(
    work: Work, monkeypatch: pytest.MonkeyPatch, lane: Lane
) -> None:
    monkeypatch.setattr("tasks.work.SUSPECTS_WAIT_SECONDS", 0.01)
    engine = give(work)
    work.take_in(claim(1, lane=lane), parts(1), alone=False)
    suspect = next(iter(work.holding.parts))
    for turn in range(100_000):
        work.take_in(claim(2 + turn, lane=Lane.INTERACTIVE), parts(0), alone=False)
        before = engine.in_flight
        engine.fed.clear()
        work.feed()
        engine.in_flight = frozenset(part.key for part in engine.fed)  # what came before is done by now
        if suspect in engine.in_flight:
            break
    assert engine.in_flight == {suspect}
    assert not before


def test_what_a_given_up_engine_had_waits_again_should_its_job_live_on(work: Work) -> None:
    """As it does where the database is away and the job cannot be failed."""
    work.take_in(claim(), parts(0, 0, 0), alone=False)
    for _ in range(SILENT_DEATHS):
        die(work, give(work))
    with pytest.raises(LoadFailed):
        die(work, give(work))
    assert sorted(work.holding.suspects) == sorted(work.holding.parts)


def die(work: Work, engine: PassiveEngine) -> None:
    work.deaths.suspects_at = 0.0  # not later, as it else would
    work.feed()
    assert engine.fed
    engine.held = frozenset(part.key for part in engine.fed)
    died: dict[str, Any] = {"signal": 11, "in_flight": frozenset()}
    work.died(EngineDied("it ended", **died))
