"""`make chaos ARGS="--runs 100 --seed 7"`: runs with the seeds 7 … 106, and a summary as JSON.

Each run's outcome is a line of a log, so that a session that was interrupted goes on where it stopped.
`--runs 1 --seed N` replays the run of a seed.
"""

import argparse
import json
import secrets
import sys
from pathlib import Path

import msgspec

from tests.chaos.homes import make_template, session_folder
from tests.chaos.plan import make_plan
from tests.chaos.report import summary, table
from tests.chaos.run import Outcome, run

LOGS = Path(__file__).resolve().parents[2] / ".cache" / "chaos"


def main() -> int:
    """0 where every run kept every promise, else 1."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, help="of the first run; default: a random one, which is printed")
    parser.add_argument("--log", type=Path, help="lines of JSON; default: .cache/chaos/SEED.jsonl")
    asked = parser.parse_args()
    seed = secrets.randbelow(1_000_000) * 3 if asked.seed is None else asked.seed
    log = asked.log or LOGS / f"{seed}.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    say(f"seed {seed}; the log is {log}")
    outcomes = {outcome.seed: outcome for outcome in read(log)}
    with session_folder() as folder:
        template = make_template(folder)
        for number in range(seed, seed + asked.runs):
            if number in outcomes:
                continue
            plan = make_plan(number)
            say(f"run of seed {number}: {', '.join(fault.kind for fault in plan.faults)}")
            outcome = outcomes[number] = run(plan, folder, template)
            with log.open("ab") as file:
                file.write(msgspec.json.encode(outcome) + b"\n")
            say(f"  {outcome.seconds} s, fenced {outcome.fenced}, violations: {outcome.violations or 'none'}")
            if outcome.violations:
                say(f"  its home stays in {folder}; replay: make chaos ARGS='--runs 1 --seed {number}'")
    found = summary([outcomes[number] for number in range(seed, seed + asked.runs)])
    say(table(found))
    say(json.dumps(found, indent=2))
    return 1 if found["failed"] else 0


def read(log: Path) -> list[Outcome]:
    """The outcomes that a log has; a line that was cut short is none."""
    outcomes = []
    for line in log.read_bytes().splitlines() if log.exists() else []:
        try:
            outcomes.append(msgspec.json.decode(line, type=Outcome))
        except msgspec.DecodeError:
            continue
    return outcomes


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
