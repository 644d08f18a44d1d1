"""`batchyard webhooks`: receivers of events, what was delivered to them, and the secret of `webhook_url`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect, print_json

if TYPE_CHECKING:
    from cli.client import Object

app = typer.Typer(help="Register receivers of events, see deliveries, send them again.", no_args_is_help=True)
ENDPOINTS = "/v1/webhook_endpoints"
EndpointArgument = Annotated[str, typer.Argument(metavar="ENDPOINT", help="we_…", show_default=False)]


@app.command("list")
def list_endpoints(
    url: UrlOption = DEFAULT_URL, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List the registered receivers."""
    found: list[Object] = []
    with connect(url, api_key) as client:
        page: Object = {"has_more": True, "last_id": None}
        while page["has_more"]:
            after = {"after": page["last_id"]} if page["last_id"] else {}
            page = client.get(ENDPOINTS, limit=100, **after)
            found += page["data"]
    if as_json:
        print_json(found)
        return
    for endpoint in found:
        typer.echo(f"{endpoint['id']}  {endpoint['name']}  {endpoint['url']}")
        typer.echo(f"  {', '.join(endpoint['event_types'])}")
        if not endpoint["enabled"]:
            typer.echo(f"  disabled: {endpoint['disabled_reason']}")


@app.command()
def create(
    receiver: Annotated[str, typer.Argument(metavar="RECEIVER", help="https://…", show_default=False)],
    events: Annotated[
        list[str] | None, typer.Option("--event", help="Event type; may be repeated. Default: all.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Default: the receiver's host.")] = None,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a receiver. Its signing secret is shown this once."""
    with connect(url, api_key) as client:
        types = events or client.get("/v1/webhook_event_types")["data"]
        label = name or receiver.partition("://")[2].partition("/")[0] or receiver
        made = client.post(ENDPOINTS, {"name": label, "url": receiver, "event_types": types})
    if as_json:
        print_json(made)
        return
    typer.echo(made["id"])
    typer.echo(f"  secret  {made['signing_secret']}  (shown this once)")


@app.command()
def delete(endpoint_id: EndpointArgument, url: UrlOption = DEFAULT_URL, api_key: KeyOption = None) -> None:
    """Delete a receiver with its deliveries."""
    with connect(url, api_key) as client:
        client.delete(f"{ENDPOINTS}/{endpoint_id}")
    typer.echo(f"deleted {endpoint_id}")


@app.command()
def enable(endpoint_id: EndpointArgument, url: UrlOption = DEFAULT_URL, api_key: KeyOption = None) -> None:
    """Send events to a receiver again that has been disabled. What it missed is for `replay`."""
    with connect(url, api_key) as client:
        client.post(f"{ENDPOINTS}/{endpoint_id}", {"enabled": True})
    typer.echo(f"enabled {endpoint_id}")


@app.command("test")
def send_test(
    endpoint_id: EndpointArgument,
    event: Annotated[str | None, typer.Option("--event", help="Default: the first that it asks for.")] = None,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a sample event now. Exit code 0 only if the receiver answers with 2xx."""
    with connect(url, api_key) as client:
        kind = event or client.get(f"{ENDPOINTS}/{endpoint_id}")["event_types"][0]
        result = client.post(f"{ENDPOINTS}/{endpoint_id}/test", {"event_type": kind})
    if as_json:
        print_json(result)
    else:
        outcome = result["error"] or f"answered with {result['status_code']}"
        typer.echo(f"{kind}: {outcome} after {result['latency_ms']} ms")
    raise typer.Exit(1 if result["error"] else 0)


@app.command()
def deliveries(
    endpoint_id: Annotated[
        str | None, typer.Argument(metavar="[ENDPOINT]", help="we_…; default: all", show_default=False)
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="pending, delivered, exhausted or disabled.", show_default=False)
    ] = None,
    job: Annotated[
        str | None, typer.Option(help="Only those of this job: any kind of id.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, the newest first.")] = 20,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List deliveries, each with its last attempt."""
    if endpoint_id and job:
        raise typer.BadParameter("takes no ENDPOINT beside it", param_hint="--job")
    path = f"{ENDPOINTS}/{endpoint_id}/deliveries" if endpoint_id else "/v1/webhook_deliveries"
    filters: dict[str, Any] = {"state": state, "job": job}
    with connect(url, api_key) as client:
        found = client.get(path, limit=limit, **{name: value for name, value in filters.items() if value})
    if as_json:
        print_json(found["data"])
        return
    for delivery in found["data"]:
        typer.echo(_line(delivery))


@app.command()
def replay(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="delivery_…, or we_… for all that failed there.", show_default=False
        ),
    ],
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
) -> None:
    """Send a delivery again, or all that failed at a receiver: the same events under the same ids."""
    with connect(url, api_key) as client:
        if wanted.startswith("delivery_"):
            client.post(f"/v1/webhook_deliveries/{wanted}/replay")
            typer.echo(f"{wanted} is sent again")
        else:
            replayed = client.post(f"{ENDPOINTS}/{wanted}/replay")["deliveries"]
            typer.echo(f"{replayed} {'delivery is' if replayed == 1 else 'deliveries are'} sent again")


@app.command()
def secret(
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new one first.")] = False,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="With --rotate: the old one signs too for 24 hours.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = None,
) -> None:
    """Print the secret that signs events for the webhook_url of jobs. Needs a key with the scope admin."""
    if keep_old and not rotate:
        raise typer.BadParameter("it says what becomes of the old one: add --rotate", param_hint="--keep-old")
    with connect(url, api_key) as client:
        if rotate:
            shown = client.post(
                "/v1/webhook_secret/rotate", {"keep_old_secret_active_for_24_hours": keep_old}
            )
        else:
            shown = client.get("/v1/webhook_secret")
    typer.echo(shown["signing_secret"])


def _line(delivery: "Object") -> str:
    facts = [delivery[name] for name in ("id", "state", "event_type", "job_id")]
    tried = delivery["error"] or delivery["status_code"]
    outcome = f"{delivery['attempt_count']} attempts, the last: {tried}" if tried else "not yet attempted"
    return "  ".join([*facts, outcome])
