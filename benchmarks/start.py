"""How long `batchyard up` takes to `ready`: on a home that is new, and on one that is initialised."""

from pathlib import Path
from statistics import median

from benchmarks.model import ready_model
from benchmarks.service import fresh_home, running

RUNS = 5


def run(cache: Path) -> None:
    models, home = ready_model(cache).parent, fresh_home(cache)
    with running(home, models, slots="auto") as service:
        print(f"`up` on a new home: {service.start_seconds:.2f} s")
    seconds = []
    for _ in range(RUNS):
        with running(home, models, slots="auto") as service:
            seconds.append(service.start_seconds)
    print(
        f"`up` on an initialised home: median {median(seconds):.2f} s "
        f"({min(seconds):.2f}-{max(seconds):.2f}, {RUNS} runs); wanted under 5 s"
    )
