"""A short session of the chaos suite: three runs deal every fault. `make chaos` has long ones."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.homes import make_template, session_folder
from tests.chaos.plan import DECK, make_plan
from tests.chaos.report import summary, table
from tests.chaos.run import Outcome, run

SEED = 3  # of the first run


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with session_folder() as folder:
        yield folder


@pytest.mark.slow
def test_nothing_is_lost_doubled_or_left_whatever_is_killed(folder: Path) -> None:
    template = make_template(folder)
    outcomes: list[Outcome] = []
    for seed in range(SEED, SEED + 3):
        sys.stdout.write(f"replay: make chaos ARGS='--runs 1 --seed {seed}'\n")
        outcomes.append(run(make_plan(seed), folder, template))
        assert not outcomes[-1].violations
    found = summary(outcomes)
    sys.stdout.write(table(found))
    assert found["stale_writers_fenced"] >= 1


def test_three_seeds_in_a_row_deal_every_fault() -> None:
    kinds = [fault.kind for seed in range(SEED, SEED + 3) for fault in make_plan(seed).faults]
    assert sorted(kinds) == sorted(DECK)


def test_a_seed_gives_the_same_run_always() -> None:
    assert make_plan(17) == make_plan(17)
    assert make_plan(17) != make_plan(18)
