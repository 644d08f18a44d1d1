"""`batchyard check`: whether a part of the service works here. For health checks of containers and pods."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.environment import settings_from
from cli.errors import WrongSetting
from cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from configs.settings import Settings


TIMEOUT_SECONDS = 5.0


class Checked(StrEnum):
    """What can be asked about."""

    API = "api"  # it answers, and reaches the database
    DISPATCHER = "dispatcher"  # one leads
    DELIVERER = "deliverer"  # one is connected to the database
    WORKER = "worker"  # a slot of this host is alive


def check(
    part: Annotated[Checked, typer.Argument(help="Part of the service.", show_default=False)],
) -> None:
    """Say by the exit code whether a part of the service works here: 0, or 3 with the reason."""
    settings = settings_from()
    failure = _api_failure(settings) if part is Checked.API else _database_failure(settings, part)
    if failure:
        typer.echo(f"batchyard: {failure}", err=True)
        raise typer.Exit(ExitCode.UNREACHABLE)
    typer.echo("ok")


def _api_failure(settings: "Settings") -> str | None:
    """What is wrong unless GET /ready says 200."""
    import httpx

    from tasks.address import url_of

    url = f"{url_of(settings)}/ready"
    try:
        status = httpx.get(url, timeout=TIMEOUT_SECONDS, trust_env=False).status_code
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        return f"no api answers at {url} (BATCHYARD_HOST, BATCHYARD_PORT): {reason}"
    return None if status == 200 else f"the api at {url} is not ready: it answers with status {status}"


def _database_failure(settings: "Settings", part: Checked) -> str | None:
    """What is wrong unless the database knows of the part. Raises DatabaseUnavailable."""
    import socket

    from store import db, deliveries, leadership, slots

    if settings.database_url is None:
        raise WrongSetting(
            f"BATCHYARD_DATABASE_URL is not set: the database knows whether a {part} is at work"
        )
    with db.connect(settings.database_url, name="batchyard check") as conn:
        if part is Checked.DISPATCHER:
            return None if leadership.exists(conn) else "no dispatcher leads on this database"
        if part is Checked.DELIVERER:
            return None if deliveries.deliverer_exists(conn) else "no deliverer works on this database"
        host = socket.gethostname()
        return (
            None if slots.count_on(conn, host) else f"no slot of this host ({host}) is alive in this database"
        )
