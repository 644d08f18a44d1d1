"""`batchyard api`: the HTTP surface alone."""

import asyncio
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from cli.environment import settings_from

if TYPE_CHECKING:
    from configs.settings import Settings

GRACE_SECONDS = 5  # for requests that are being answered when the process is told to stop


def api(
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to bind.")] = None,
    fd: Annotated[
        int | None, typer.Option(hidden=True, help="A listening socket to take over from the parent.")
    ] = None,
) -> None:
    """Answer HTTP calls, with Postgres and Redis at the configured URLs."""
    from configs import logging

    settings = settings_from(host=host, port=port)
    logging.configure(settings)
    listener = None if fd is None else socket.socket(fileno=fd)
    asyncio.run(_serve(settings, listener))


async def _serve(settings: "Settings", listener: socket.socket | None) -> None:
    """Open the services here and not inside uvicorn, which turns a refusal into a traceback."""
    import uvicorn

    from api.app import create_app
    from api.services import open_services

    async with open_services(settings) as services:
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(settings, services),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        await server.serve(sockets=None if listener is None else [listener])
