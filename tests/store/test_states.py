"""The diagrams of docs/states.md are the tables of store/states.py."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from store.states import (
    CHUNK_TRANSITIONS,
    DELIVERY_TRANSITIONS,
    FINAL_JOB_STATES,
    JOB_TRANSITIONS,
    ChunkState,
    DeliveryState,
    ItemState,
    JobState,
)

PAGE = (Path(__file__).parents[2] / "docs" / "states.md").read_text()
ARROW = re.compile(r"^ +(\S+) --> (\S+?)(?:: .+)?$", re.MULTILINE)


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def drawn(title: str) -> set[tuple[str, str]]:
    return set(ARROW.findall(section(title)))


@pytest.mark.parametrize(
    ("title", "table"),
    [("Job", JOB_TRANSITIONS), ("Chunk", CHUNK_TRANSITIONS), ("Delivery", DELIVERY_TRANSITIONS)],
    ids=["job", "chunk", "delivery"],
)
def test_the_diagram_shows_all_transitions_and_no_other(
    title: str, table: dict[StrEnum, frozenset[StrEnum]]
) -> None:
    arrows = {pair for pair in drawn(title) if "[*]" not in pair}
    assert arrows == {(before, after) for before, afters in table.items() for after in afters}


def test_the_diagram_shows_which_states_are_final() -> None:
    assert {before for before, after in drawn("Job") if after == "[*]"} == FINAL_JOB_STATES
    assert {before for before, after in drawn("Chunk") if after == "[*]"} == {ChunkState.DONE}


def test_every_state_is_in_its_table() -> None:
    assert set(JOB_TRANSITIONS) == set(JobState)
    assert set(CHUNK_TRANSITIONS) == set(ChunkState)
    assert set(DELIVERY_TRANSITIONS) == set(DeliveryState)
    named = set(re.findall(r"`([a-z]+)`", "".join(re.findall(r"^\|(.+?)\|", section("Item"), re.MULTILINE))))
    assert named == set(ItemState)


def test_every_state_is_reached() -> None:
    first = {after for before, after in drawn("Job") if before == "[*]"}
    reached = first | {after for afters in JOB_TRANSITIONS.values() for after in afters}
    assert reached == set(JobState)
