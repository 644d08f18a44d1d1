"""The slot plan: cores, families, memory."""

import pytest

from backends.registry import FAMILIES
from configs.models import ModelSpec
from tasks.refusals import PlanRefused, StartRefused
from tasks.slots import SlotPlan, check_memory, check_sets, parse_cores, parse_families, plan

CORES = [0, 1, 2, 3, 4, 5, 6, 7]


def cores_of(
    slots: str, available: list[int] = CORES, specs: tuple[ModelSpec, ...] = ()
) -> list[tuple[int, ...]]:
    return [slot.cores for slot in plan(slots, available, specs)]


def model(**fields: object) -> ModelSpec:
    return ModelSpec.model_validate({"name": "m", "family": "echo", **fields})


def test_auto_gives_every_core_a_slot() -> None:
    assert cores_of("auto", [2, 3, 5]) == [(2,), (3,), (5,)]


def test_auto_makes_one_slot_as_wide_as_the_widest_model_asks() -> None:
    specs = (model(), model(name="wide", cores=4))
    assert cores_of("auto", CORES, specs) == [(0, 1, 2, 3), (4,), (5,), (6,), (7,)]


def test_auto_is_never_wider_than_the_machine() -> None:
    assert cores_of("auto", [0, 1], (model(cores=16),)) == [(0, 1)]


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ("1", [(0, 1, 2, 3, 4, 5, 6, 7)]),
        ("2", [(0, 1, 2, 3), (4, 5, 6, 7)]),
        ("3", [(0, 1, 2), (3, 4, 5), (6, 7)]),
        ("8", [(core,) for core in CORES]),
    ],
)
def test_a_number_shares_the_cores_out(slots: str, expected: list[tuple[int, ...]]) -> None:
    assert cores_of(slots) == expected


def test_core_sets_are_taken_as_they_are() -> None:
    assert cores_of("0-3,4-6, 7") == [(0, 1, 2, 3), (4, 5, 6), (7,)]
    assert cores_of("0-0") == [(0,)]


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ("0", "0 slots on 8 cores.*one slot on core 0 is 0-0"),
        ("0,", "'' is not a core set.*0-0 is core 0 alone"),
        ("9", "9 slots on 8 cores: give each slot a core of its own$"),
        ("0-3,3-5", "core 3 is in two core sets"),
        ("6-9", "core 8 is not there: this process may use 0, 1, 2"),
        ("3-1", "'3-1' is not a core set"),
        ("0-", "'0-' is not a core set"),
        ("-2", "'-2' is not a core set"),
        ("0,,1", "'' is not a core set"),
        ("many", "'many' is not a core set"),
        ("0-99999999999", "is not a core set"),
        ("", "'' is not a core set"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_its_reason(slots: str, message: str) -> None:
    with pytest.raises(PlanRefused, match=message):
        plan(slots, CORES)


def test_a_core_list_is_sorted_and_without_repeats() -> None:
    assert parse_cores("4-6,1") == [1, 4, 5, 6]
    with pytest.raises(PlanRefused, match="no core is named twice"):
        parse_cores("1,0-2")


def test_cores_of_a_lone_slot_must_be_there_too() -> None:
    check_sets([[0, 7]], CORES)
    with pytest.raises(PlanRefused, match="core 9 is not there: this process may use 0, 1, 2"):
        check_sets([[7, 9]], CORES)


def test_families_are_all_or_those_that_are_named() -> None:
    assert parse_families("all") == tuple(FAMILIES)
    assert parse_families(" echo ,bert") == ("echo", "bert")
    for wrong in ("", ",", "echo,parrot"):
        with pytest.raises(PlanRefused, match="unknown families"):
            parse_families(wrong)


def test_a_plan_within_memory_passes() -> None:
    plans = plan("2", CORES)
    check_memory(plans, [model(memory_mb=4000), model(name="unknown")], 8000)


def test_a_plan_over_memory_is_refused_with_the_numbers() -> None:
    plans = plan("4", CORES)
    with pytest.raises(
        StartRefused, match=r"4 slots need 16,000 MB .*4,000 MB each .*8,500 MB: start with --slots 2"
    ):
        check_memory(plans, [model(memory_mb=4000)], 8500)


def test_a_model_larger_than_memory_is_refused_as_such() -> None:
    with pytest.raises(StartRefused, match="this model does not fit"):
        check_memory(plan("1", CORES), [model(memory_mb=4000)], 3000)


def test_a_slot_counts_only_models_that_it_may_load() -> None:
    narrow = [SlotPlan((0,), ("echo",))]
    check_memory(narrow, [model(memory_mb=9000, cores=2), model(family="bert", memory_mb=9000)], 100)
