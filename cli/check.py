"""`batchyard check`: whether a part of the service works here. For health checks of containers and pods."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.environment import settings_from
from cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from configs.settings import Settings


TIMEOUT_SECONDS = 5.0


class Checked(StrEnum):
    """What can be asked about."""

    API = "api"  # it answers, and reaches the database
    DISPATCHER = "dispatcher"  # one leads
    WORKER = "worker"  # a slot of this host is alive


def check(
    part: Annotated[Checked, typer.Argument(help="Part of the service.", show_default=False)],
) -> None:
    """Say by the exit code whether a part of the service works here: 0, or 3 with the reason."""
    settings = settings_from()
    works = _api_answers(settings) if part is Checked.API else _database_says(settings, part)
    if not works:
        typer.echo(f"batchyard: no {part} at work here", err=True)
        raise typer.Exit(ExitCode.UNREACHABLE)
    typer.echo("ok")


def _api_answers(settings: "Settings") -> bool:
    """Whether GET /ready says 200."""
    import httpx

    from tasks.startup import url_of

    try:
        return httpx.get(f"{url_of(settings)}/ready", timeout=TIMEOUT_SECONDS).status_code == 200
    except httpx.TransportError:
        return False


def _database_says(settings: "Settings", part: Checked) -> bool:
    """Raises DatabaseUnavailable."""
    import socket

    from store import db, leadership, slots

    if settings.database_url is None:
        raise typer.BadParameter("BATCHYARD_DATABASE_URL is not set", param_hint="PART")
    with db.connect(settings.database_url, name="batchyard check") as conn:
        if part is Checked.DISPATCHER:
            return leadership.exists(conn)
        return slots.count_on(conn, socket.gethostname()) > 0
