"""`batchyard prune`: delete what is past its time, or see what that would be."""

from typing import Annotated

import typer

from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect, print_json


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete now what retention would delete by and by: old jobs, expired files, old webhook events."""
    from cli.progress import counted

    with connect(url, api_key) as client:
        found = client.post("/v1/prune", {"dry_run": dry_run})
    if as_json:
        print_json(found)
        return
    typer.echo("would be deleted:" if dry_run else "deleted:")
    for view, count in found["jobs"].items():
        typer.echo(f"  {counted(count, f'{view} job' if view != 'job' else 'job')}")
    typer.echo(f"  {counted(found['files'], 'file')}, {found['bytes']:,} bytes")
    typer.echo(f"  {counted(found['events'], 'webhook event')}")
