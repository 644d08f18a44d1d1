"""What the control plane costs: CPU time of all processes but the engines, per no-op item, and its share of a
real batch of embeddings. One slot on one core; CPU time from /proc, so that it does not matter who else runs.
"""

import os
from pathlib import Path
from statistics import median

import httpx

from benchmarks.corpus import texts
from benchmarks.model import ready_model
from benchmarks.noop import LARGE, file_job
from benchmarks.service import Service, fresh_home, running
from benchmarks.whole_path import TEXTS, embedding_batch, warm_up

TURNS = 3
LOOK_SECONDS = 1.0  # as `batchyard jobs wait` looks; each look costs API and Postgres some milliseconds
ENGINE = "engine"


def run(cache: Path) -> None:
    folder = ready_model(cache)
    all_texts, _ = texts(TEXTS, folder)
    core = min(os.sched_getaffinity(0))
    with running(fresh_home(cache), folder.parent, slots=f"{core}-{core}") as service:
        warm_up(service)
        per_item = [_noop_cost(service) for _ in range(TURNS)]
        shares = [_share(service, all_texts) for _ in range(TURNS)]
    print(
        f"control plane: {median(per_item):.0f} µs of CPU per no-op item ({min(per_item):.0f}-"
        f"{max(per_item):.0f}); {median(shares):.1%} of a batch of {len(all_texts)} embeddings "
        f"({min(shares):.1%}-{max(shares):.1%}; wanted under 5 %)"
    )


def _noop_cost(service: Service) -> float:
    """CPU µs per item of a job of echo items, from upload to the results read."""
    before = service.cpu_seconds()
    with httpx.Client(base_url=service.url, timeout=300) as client:
        file_job(client, LARGE)
    after = service.cpu_seconds()
    spent = {name: 1e6 * (after[name] - before.get(name, 0.0)) / LARGE for name in after}
    print(", ".join(f"{name} {cost:.1f} µs" for name, cost in sorted(spent.items())), flush=True)
    return sum(cost for name, cost in spent.items() if name != ENGINE)


def _share(service: Service, all_texts: list[str]) -> float:
    """The control plane's share of all CPU time of a batch of MiniLM embeddings."""
    _, spent = embedding_batch(service, all_texts, LOOK_SECONDS)
    print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in sorted(spent.items())), flush=True)
    total = sum(spent.values())
    return (total - spent[ENGINE]) / total
