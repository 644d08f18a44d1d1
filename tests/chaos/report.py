"""What a session of runs found: a summary, and recovery times as the table of docs/benchmarks.md."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from tests.chaos.plan import DECK
from tests.chaos.run import Outcome, Recovery

MEASURES = {
    "silence": "longest time without a result",
    "call": "next call answered",
    "held": "its work done, or with another",
}


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Totals, the runs that broke a promise, and (median, worst) seconds by fault and measure."""
    recoveries = [one for outcome in outcomes for one in outcome.recoveries if one.happened]
    return {
        "runs": len(outcomes),
        "seeds": [min((o.seed for o in outcomes), default=0), max((o.seed for o in outcomes), default=0)],
        "failed": {str(o.seed): o.violations for o in outcomes if o.violations},
        "faults": len(recoveries),
        "stale_writers_fenced": sum(o.fenced for o in outcomes),
        "chunks_taken_over": sum(o.reclaimed for o in outcomes),
        "calls_answered": sum(o.calls for o in outcomes),
        "calls_tried_again": sum(o.failed_calls for o in outcomes),
        "tracebacks": sum(o.tracebacks for o in outcomes),
        "seconds_per_run": round(median(o.seconds for o in outcomes), 1) if outcomes else None,
        "recovery_seconds": {
            kind: {"times": len(of_kind), **{name: _middle_and_worst(of_kind, name) for name in MEASURES}}
            for kind in sorted(set(DECK))
            if (of_kind := [one for one in recoveries if one.kind == kind])
        },
    }


def _middle_and_worst(recoveries: Iterable[Recovery], measure: str) -> list[float] | None:
    seconds = [value for one in recoveries if (value := getattr(one, measure)) is not None]
    return [round(median(seconds), 2), round(max(seconds), 2)] if seconds else None


def table(found: dict[str, Any]) -> str:
    """Markdown: a row for each fault."""
    rows = ["| fault | times | " + " | ".join(MEASURES.values()) + " |", "|---|---|---|---|---|"]
    for kind, row in found["recovery_seconds"].items():
        cells = [_cell(row[name]) for name in MEASURES]
        rows.append(f"| {kind} | {row['times']} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(seconds: list[float] | None) -> str:
    return "" if seconds is None else f"{seconds[0]:.2f} s ({seconds[1]:.2f})"
