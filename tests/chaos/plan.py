"""What one run does, drawn from its seed alone: jobs with planted poison, faults, and when they strike."""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

# Twelve cards; a run gets four, so that three seeds in a row (3n, 3n + 1, 3n + 2) deal each. The stop of a
# slot is there twice, since it is what makes a stale writer.
DECK = (
    "kill slot", "stop slot", "stop slot", "kill engine", "empty redis", "kill redis", "stop postgres",
    "kill dispatcher", "kill api", "kill deliverer", "restart all", "kill all",
)  # fmt: skip
FAULTS_PER_RUN = 4
CRASHES, HANGS = "a text to crash on", "a text to hang on"

# Models by name: what their specs say. Those that are poisoned crash or hang on the texts above.
SPECS = {
    "steady": "{delay_ms: 12}",
    "quick": "{delay_ms: 0}",
    "poisoned": f"{{delay_ms: 8, crash_on: {CRASHES}, hang_on: {HANGS}}}",
    "aborting": f"{{delay_ms: 0, crash_on: {CRASHES}, crash_signal: SIGABRT}}",
}

Code = Literal["engine_crashed", "engine_timeout"]


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    """One job: `poison` says which items must fail, and with which code. `key` numbers who submits it.
    `own_webhook`: it names a `webhook_url`, beside the registered endpoint that hears of every job."""

    name: str
    view: Literal["job", "batch"]
    model: str
    items: int
    key: int
    priority: int
    own_webhook: bool
    poison: dict[int, Code] = field(default_factory=dict)

    def text(self, n: int) -> str:
        """The input of item `n`; no two items of a run have the same."""
        kind = {"engine_crashed": CRASHES, "engine_timeout": HANGS}.get(self.poison.get(n, ""), "a text")
        return f"{kind} of item {n} of {self.name}"


@dataclass(frozen=True, kw_only=True)
class FaultPlan:
    """`pause`: seconds since the fault before it. `pick` in 0..1 chooses among several victims. `seconds`:
    how long a victim is stopped beyond its lease; the other slot first ends its own chunk of five seconds."""

    kind: str
    pause: float
    pick: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """All of one run: `jobs` at its start, and before each fault one of `waves`, so that each meets work."""

    seed: int
    jobs: list[JobPlan]
    waves: list[JobPlan]
    faults: list[FaultPlan]


def make_plan(seed: int) -> RunPlan:
    """The plan of a seed: the same one, always."""
    random = Random(f"run {seed}")
    kinds = list(DECK)
    Random(f"deal {seed // 3}").shuffle(kinds)
    dealt = kinds[seed % 3 :: 3][:FAULTS_PER_RUN]
    faults = [
        FaultPlan(
            kind=kind, pause=random.uniform(0.3, 2.0), pick=random.random(), seconds=random.uniform(3.0, 5.0)
        )
        for kind in dealt
    ]
    jobs = [
        _job(random, "steady", "steady", random.randint(150, 300)),
        _job(random, "stretch", "steady", random.randint(100, 200)),
        _job(random, "quick", "quick", random.randint(300, 2000)),
        _job(random, "poisoned", "poisoned", random.randint(100, 250)),
        _job(random, "aborting", "aborting", random.randint(100, 400)),
    ]
    waves = [
        replace(_job(random, f"wave{number}", "steady", random.randint(120, 250)), view="job")
        for number in range(len(faults))
    ]
    return RunPlan(seed=seed, jobs=jobs, waves=waves, faults=faults)


def _job(random: Random, name: str, model: str, items: int) -> JobPlan:
    poison: dict[int, Code] = {}
    if model in ("poisoned", "aborting"):
        poison = dict.fromkeys(random.sample(range(items), random.randint(1, 2)), "engine_crashed")
    if model == "poisoned" and random.random() < 0.34:
        poison[random.randrange(items)] = "engine_timeout"
    return JobPlan(
        name=name,
        view=random.choice(("job", "batch")),
        model=model,
        items=items,
        key=random.randrange(3),
        priority=random.choice((0, 0, 10)),
        own_webhook=random.random() < 0.5,
        poison=poison,
    )
