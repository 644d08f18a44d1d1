"""The contract that every runtime of every family keeps (backends/base.py), run in real engines."""

import random
from pathlib import Path

import pytest

from backends.errors import LoadFailed
from backends.types import Done, Failed, Lane
from configs.models import ModelSpec
from tests.backends.contract_asks import Asks
from tests.backends.contract_fixtures import fixtures_over
from tests.backends.contract_models import MODELS, ContractModel
from tests.backends.engine_driver import Driver, assert_dies_with_its_parent, driving, result

model, folder, spec, asks, driver = fixtures_over(MODELS)


def is_still_there(driver: Driver, asks: Asks) -> bool:
    (answer,) = driver.compute([asks.valid(driver.new_key(), seed=0)])
    return asks.is_right(0, result(answer))


def test_every_part_is_answered_exactly_once(driver: Driver, asks: Asks) -> None:
    parts = [asks.valid(driver.new_key(), seed=seed) for seed in range(asks.several)]
    answers = driver.compute(parts)  # the driver refuses a second answer
    assert all(asks.is_right(seed, result(answer)) for seed, answer in enumerate(answers))
    assert all(isinstance(answer, Done) and answer.units > 0 for answer in answers)
    assert not driver.engine.held
    assert not driver.engine.in_flight


def test_a_result_does_not_depend_on_its_company(driver: Driver, asks: Asks) -> None:
    (alone,) = driver.compute([asks.valid(driver.new_key(), seed=1)])
    crowd = [asks.valid(driver.new_key(), seed=seed) for seed in [*range(2, 10), 1, *range(10, 16), 1]]
    found = driver.compute(crowd)
    assert asks.same(result(alone), result(found[8]))
    assert asks.same(result(alone), result(found[-1]))
    assert not asks.same(result(alone), result(found[6]))


def test_bad_parts_fail_alone_with_their_codes_and_the_field_at_fault(driver: Driver, asks: Asks) -> None:
    bad = [asks.bad(driver.new_key(), code) for code in asks.codes]
    good = [asks.valid(driver.new_key(), seed=seed) for seed in range(len(bad))]
    driver.compute([one for pair in zip(bad, good, strict=True) for one in pair])
    failed = [driver.answers[one.key] for one in bad]
    faults = {one.error.code: one.error.param for one in failed if isinstance(one, Failed)}
    assert faults == asks.codes
    assert all(isinstance(driver.answers[one.key], Done) for one in good)


def test_interactive_parts_overtake_bulk_ones(driver: Driver, asks: Asks) -> None:
    bulk = [asks.heavy(driver.new_key(), seed=seed) for seed in range(asks.many)]
    left = list(bulk)
    first_answer = len(driver.order)

    def some_answered() -> bool:
        driver.feed_room(left)
        return len(driver.order) > first_answer

    driver.wait(some_answered)
    urgent = asks.valid(driver.new_key(), seed=0, lane=Lane.INTERACTIVE)
    driver.engine.feed([urgent])
    driver.compute(left)
    driver.wait(lambda: {one.key for one in [*bulk, urgent]} <= driver.answers.keys())
    behind = driver.order[driver.order.index(urgent.key) + 1 :]
    assert len(behind) > len(bulk) // 3, "it waited for the parts that were there before it"


def test_cancelled_parts_are_answered_and_the_rest_goes_on(driver: Driver, asks: Asks) -> None:
    parts = [asks.heavy(driver.new_key(), seed=seed) for seed in range(asks.several)]
    driver.engine.feed(parts)  # more than there is room for: some wait, some are in flight
    cancelled = [one.key for one in parts[10:]]
    driver.engine.cancel(cancelled)
    driver.wait(lambda: all(one.key in driver.answers for one in parts))
    assert all(isinstance(driver.answers[one.key], Done) for one in parts[:10])
    codes = {one.error.code for key in cancelled if isinstance(one := driver.answers[key], Failed)}
    assert codes == {"cancelled"}
    assert is_still_there(driver, asks)


def test_a_closed_feed_ends_the_run_after_the_last_part_and_may_open_again(
    driver: Driver, asks: Asks
) -> None:
    engine = driver.engine
    parts = [asks.valid(driver.new_key(), seed=seed) for seed in range(12)]
    engine.feed(parts)
    engine.close_feed()
    assert engine.state == "draining"
    driver.wait(lambda: engine.state == "ready")
    assert {one.key for one in parts} <= driver.answers.keys()
    assert engine.room == 0
    engine.reopen_feed()
    assert is_still_there(driver, asks)


def test_the_engine_survives_two_hundred_senseless_bodies(driver: Driver, asks: Asks) -> None:
    dice = random.Random(20_261_124)
    answers = driver.compute([asks.senseless(driver.new_key(), dice) for _ in range(200)])
    assert len(answers) == 200
    assert sum(isinstance(answer, Failed) for answer in answers) > 150
    assert is_still_there(driver, asks)


def test_a_model_without_its_files_is_refused_by_name(
    model: ContractModel, spec: ModelSpec, tmp_path: Path
) -> None:
    with driving(spec, model.runtime, tmp_path) as driver:
        with pytest.raises(LoadFailed) as caught:
            driver.ready()
        assert any(file.path in caught.value.message for file in spec.files_for(model.runtime))
        assert driver.engine.state == "dead"


PARENT = """
import sys, time
from pathlib import Path
from backends.engine import Engine
from configs.models import ModelSpec
spec, runtime, folder = sys.argv[1:]
engine = Engine(ModelSpec.model_validate_json(spec), runtime, Path(folder), [])
while engine.state != "ready":
    engine.receive()
    time.sleep(0.01)
print(engine.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""


def test_an_engine_ends_with_its_killed_parent(model: ContractModel, spec: ModelSpec, folder: Path) -> None:
    assert_dies_with_its_parent(PARENT, spec.model_dump_json(), model.runtime, str(folder))
