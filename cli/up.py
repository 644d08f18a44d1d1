"""`batchyard up`: the whole service in the foreground."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.environment import settings_from

if TYPE_CHECKING:
    from configs.settings import Settings


def up(
    home: Annotated[Path | None, typer.Option(help="Folder of everything that is remembered.")] = None,
    host: Annotated[str | None, typer.Option(help="Address that the API binds.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the API; 0: any free one.")
    ] = None,
    slots: Annotated[
        str | None, typer.Option(help='auto, a number, or core sets such as "0-3,4-7" ("0-0" is core 0).')
    ] = None,
    families: Annotated[
        str | None, typer.Option(help="Families to serve, comma-separated; all: every one.")
    ] = None,
    models: Annotated[
        str, typer.Option(help="Models to have at hand before it is ready, comma-separated.")
    ] = "",
) -> None:
    """Start Postgres, Redis, API, dispatcher and slots; print `ready URL` once calls are answered.

    One Ctrl-C or SIGTERM ends all of it; the next start goes on where it stopped.
    """
    from configs import logging
    from tasks import startup

    settings = settings_from(home=home, host=host, port=port, slots=slots, families=families)
    logging.configure(settings)
    _check_exposure(settings)
    startup.up(
        settings,
        models=[name.strip() for name in models.split(",") if name.strip()],
        announce=lambda url: typer.echo(f"ready {url}"),
    )


def _check_exposure(settings: "Settings") -> None:
    """Refuse an open address in a new home, where there can be no key, before a database is made. In any
    other home the API looks for one. Raises `KeyMissing`."""
    if settings.host == "127.0.0.1" or settings.api_key or settings.database_url:
        return
    from api.auth import KeyMissing, is_loopback

    if not is_loopback(settings.host) and not (settings.home / "postgres").exists():
        raise KeyMissing(settings.host)
