"""`batchyard keys`: who may call. Needs a key with the scope `admin`, or an open loopback for the first."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect, print_json

if TYPE_CHECKING:
    from cli.client import Object

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

PAGE = 100


class Scope(StrEnum):
    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, for the list.", show_default=False)],
    project: Annotated[
        str, typer.Option(help="Whose work it is: keys of one project see each other's jobs. Made if new.")
    ] = "default",
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="submit: make, cancel and delete jobs, files and webhooks. read: look at them. admin: keys, "
            "pruning, usage of all projects. Repeat it for several. Default: submit and read; of the first "
            "key all three.",
            show_default=False,
        ),
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Most requests in any 60 seconds.", show_default="no limit")
    ] = None,
    max_queued_items: Annotated[
        int | None,
        typer.Option(min=1, help="Most items that wait for a result.", show_default="that of the service"),
    ] = None,
    priority_cap: Annotated[
        int, typer.Option(min=-100, max=100, help="Highest priority that its jobs may have.")
    ] = 100,
    weight: Annotated[
        float, typer.Option(min=0.01, max=1000, help="Its share of compute beside that of other keys.")
    ] = 1.0,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print its secret, which is shown this once and kept nowhere."""
    wanted: Object = {
        "name": name,
        "project": project,
        "requests_per_minute": requests_per_minute,
        "max_queued_items": max_queued_items,
        "priority_cap": priority_cap,
        "weight": weight,
    }
    if scope:
        wanted["scopes"] = [str(one) for one in scope]
    with connect(url, api_key) as client:
        made = client.post("/v1/keys", wanted)
    if as_json:
        print_json(made)
    else:
        typer.echo(made["key"])
    scopes = ", ".join(made["scopes"])
    typer.echo(
        f"{made['id']} of the project {made['project']} may {scopes}; keep it: this once only", err=True
    )
    if made["note"]:
        typer.echo(made["note"], err=True)


@app.command("list")
def list_keys(url: UrlOption = DEFAULT_URL, api_key: KeyOption = None, as_json: JsonOption = False) -> None:
    """List the keys of all projects, the newest first, revoked ones too; the end of a secret is its hint."""
    from cli.tables import print_table

    found: list[Object] = []
    with connect(url, api_key) as client:
        page = client.get("/v1/keys", limit=PAGE)
        found += page["data"]
        while page["has_more"]:
            page = client.get("/v1/keys", limit=PAGE, after=page["last_id"])
            found += page["data"]
    if as_json:
        print_json({"data": found})
        return
    head = ("key", "name", "project", "scopes", "hint", "requests/min", "queued items", "made", "revoked")
    print_table(head, [_row(key) for key in found])


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="key_…, as listed.", metavar="KEY_ID", show_default=False)],
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key, for good. Its jobs go on. Other API processes take up to 5 seconds to know."""
    with connect(url, api_key) as client:
        revoked = client.delete(f"/v1/keys/{key_id}")
    if as_json:
        print_json(revoked)
    else:
        typer.echo(f"{revoked['id']} ({revoked['name']}) is revoked")
    if revoked["note"]:
        typer.echo(revoked["note"], err=True)


def _row(key: "Object") -> tuple[object, ...]:
    return (
        key["id"],
        key["name"],
        key["project"],
        ",".join(key["scopes"]),
        key["hint"],
        key["requests_per_minute"],
        key["max_queued_items"],
        _day(key["created_at"]),
        _day(key["revoked_at"]),
    )


def _day(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds).astimezone().date().isoformat()
