"""The slot plan: how many slots a host runs, which cores each owns, which families it serves.

Measured: n engines of one pinned thread beat one engine of n threads (1.8 times for embeddings), so the
default is a slot per core, and a wider one only where a model asks for more cores.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from backends.registry import FAMILIES
from configs.models import ModelSpec
from tasks.refusals import PlanRefused, StartRefused

CORE_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


@dataclass(frozen=True)
class SlotPlan:
    """One slot: the cores that it owns, the families that it serves."""

    cores: tuple[int, ...]
    families: tuple[str, ...]


def plan(
    slots: str, available: Sequence[int], specs: Iterable[ModelSpec] = (), *, families: str = "all"
) -> list[SlotPlan]:
    """The slots for `slots` (the setting: auto, a number, or core sets such as "0-3,4-7").

    `available` are the cores that we may use. With auto the first slot is as wide as the widest of `specs`
    asks. Raises `PlanRefused`.
    """
    served = parse_families(families)
    if slots.strip() == "auto":
        sets = _one_per_core(available, widest=max((spec.cores for spec in specs), default=1))
    elif slots.strip().isdigit():
        sets = _evenly(available, int(slots))
    else:
        sets = [tuple(parse_cores(part)) for part in slots.split(",")]
        check_sets(sets, available)
    return [SlotPlan(cores, served) for cores in sets]


def check_memory(plans: Sequence[SlotPlan], specs: Iterable[ModelSpec], memory_mb: int) -> None:
    """Refuse a plan whose slots cannot all hold the largest model that each may have to load. Raises
    `StartRefused` with the numbers: another day there may be more memory."""
    known = [spec for spec in specs if spec.memory_mb]
    largest = [_largest(slot, known) for slot in plans]
    needed = sum(spec.memory_mb or 0 for spec in largest if spec)
    if needed <= memory_mb:
        return
    spec = max((spec for spec in largest if spec), key=lambda spec: spec.memory_mb or 0)
    fitting = memory_mb // (spec.memory_mb or 1)
    raise StartRefused(
        f"{len(plans)} slots need {needed:,} MB of memory for engines ({spec.memory_mb:,} MB each with model "
        f"'{spec.name}'), and there are {memory_mb:,} MB: "
        + (f"start with --slots {fitting}" if fitting else "this model does not fit")
        + ", or set BATCHYARD_MEMORY_MB"
    )


def parse_families(names: str) -> tuple[str, ...]:
    """The families of a comma-separated list; `all` stands for every one. Raises `PlanRefused`."""
    if names.strip() == "all":
        return tuple(FAMILIES)
    wanted = tuple(name.strip() for name in names.split(",") if name.strip())
    unknown = [name for name in wanted if name not in FAMILIES]
    if unknown or not wanted:
        raise PlanRefused(
            f"unknown families: {', '.join(unknown) or '(none named)'}; known are all, {', '.join(FAMILIES)}"
        )
    return wanted


def parse_cores(text: str) -> list[int]:
    """The cores of a list such as "0,1" or "4-7", ascending. Raises `PlanRefused`."""
    cores: set[int] = set()
    for part in text.split(","):
        found = CORE_RANGE.fullmatch(part.strip())
        if not found:
            raise PlanRefused(
                f"'{text}' is not a core set: write cores and ranges of cores, such as 0,1 or 4-7; "
                "0-0 is core 0 alone"
            )
        first, last = found.groups()
        span = range(int(first), int(last or first) + 1)
        if not span or cores.intersection(span):
            raise PlanRefused(f"'{text}' is not a core set: a range runs upwards, and no core is named twice")
        cores.update(span)
    return sorted(cores)


def check_sets(sets: Sequence[Sequence[int]], available: Sequence[int]) -> None:
    """Refuse core sets that share a core, or have one that is not `available`. Raises `PlanRefused`."""
    named = [core for cores in sets for core in cores]
    twice = sorted({core for core in named if named.count(core) > 1})
    if twice:
        raise PlanRefused(f"core {twice[0]} is in two core sets: a core belongs to one slot")
    missing = sorted(set(named).difference(available))
    if missing:
        raise PlanRefused(
            f"core {missing[0]} is not there: this process may use {', '.join(map(str, available))}"
        )


def boot_id() -> str:
    """The kernel's id of this boot: the same in every container of a host, another after a restart."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _one_per_core(available: Sequence[int], *, widest: int) -> list[tuple[int, ...]]:
    width = min(widest, len(available))
    return [tuple(available[:width]), *((core,) for core in available[width:])]


def _evenly(available: Sequence[int], count: int) -> list[tuple[int, ...]]:
    if not 1 <= count <= len(available):
        meant = f" (a number counts slots; one slot on core {count} is {count}-{count})"
        raise PlanRefused(
            f"{count} slots on {len(available)} cores: give each slot a core of its own"
            + (meant if count in available else "")
        )
    width, wider = divmod(len(available), count)
    ends = [number * width + min(number, wider) for number in range(count + 1)]
    return [tuple(available[start:end]) for start, end in pairwise(ends)]


def _largest(slot: SlotPlan, specs: Iterable[ModelSpec]) -> ModelSpec | None:
    fitting = (spec for spec in specs if spec.family in slot.families and spec.cores <= len(slot.cores))
    return max(fitting, key=lambda spec: spec.memory_mb or 0, default=None)
