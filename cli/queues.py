"""`batchyard queues`: what waits, runs and is held back."""

from typing import TYPE_CHECKING

import typer

from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect, print_json

if TYPE_CHECKING:
    from cli.client import Object


def queues(url: UrlOption = DEFAULT_URL, api_key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Show by family and lane what waits and runs, what is held back and why, and paused models."""
    from cli.progress import counted
    from cli.tables import print_table

    with connect(url, api_key) as client:
        found = client.get("/v1/queues")
    if as_json:
        print_json(found)
        return
    head = ("family", "lane", "slots", "items waiting", "running", "held", "jobs waiting", "running",
            "held: paused", "window", "not before", "oldest")  # fmt: skip
    print_table(head, [row for queue in found["data"] for row in _rows(queue)])
    for state, what in (("validating", "being read"), ("finalizing", "being settled")):
        if found[state]:
            typer.echo(f"{counted(found[state], 'job')} {what}")
    for pause in found["paused_models"]:
        typer.echo(
            f"model {pause['model']} is paused, {counted(pause['jobs'], 'job')} held: {pause['reason']} "
            f"(go on with: batchyard models resume {pause['model']})"
        )


def _rows(queue: "Object") -> list[tuple[object, ...]]:
    from cli.progress import duration

    rows: list[tuple[object, ...]] = []
    for lane in queue["lanes"]:
        items, jobs, oldest = lane["items"], lane["jobs"], lane["oldest_seconds"]
        held = jobs["held"]
        rows.append(
            (queue["family"], lane["lane"], queue["slots"], items["waiting"], items["running"], items["held"],
             jobs["waiting"], jobs["running"], held["paused"], held["window"], held["not_before"],
             duration(oldest) if oldest is not None else None)
        )  # fmt: skip
    return rows or [(queue["family"], None, queue["slots"], 0, 0, 0, 0, 0, 0, 0, 0, None)]
