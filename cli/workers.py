"""`batchyard workers`: the slots that are alive."""

import typer

from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect, print_json


def workers(url: UrlOption = DEFAULT_URL, api_key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Show the slots: their cores and families, what they have loaded, what they are at."""
    from cli.tables import print_table

    with connect(url, api_key) as client:
        found = client.get("/v1/workers")
    if as_json:
        print_json(found)
        return
    if not found["data"]:
        typer.echo("no slot is alive; start one with: batchyard worker", err=True)
    rows = [
        (
            worker["id"],
            f"{worker['host']}:{worker['pid']}",
            ",".join(map(str, worker["cores"])),
            ",".join(worker["families"]),
            ",".join(worker["loaded"]),
            worker["working_on"],
            worker["rate"],
            worker["memory_mb"],
        )
        for worker in found["data"]
    ]
    print_table(("slot", "process", "cores", "families", "loaded", "working on", "parts/s", "MB"), rows)
