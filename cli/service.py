"""How a command finds the service that it talks to: its options, and the connection. Light to import."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.environment import warn_of_strange_variables

if TYPE_CHECKING:
    from cli.client import Client

DEFAULT_URL = "http://127.0.0.1:8080"

UrlOption = Annotated[str, typer.Option("--url", envvar="BATCHYARD_URL", help="The service to talk to.")]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="BATCHYARD_API_KEY", help="Its API key, if it wants one.", metavar="KEY"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")]


def connect(url: str, api_key: str | None) -> "Client":
    """A client of the service; a URL that is none is a usage error."""
    from cli.client import Client

    warn_of_strange_variables()
    try:
        return Client(url, api_key)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None


def print_json(value: Any) -> None:
    """One value as indented JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
