"""`batchyard api`: the HTTP surface alone."""

import asyncio
import signal
import socket
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from cli.part import check_database, settings_of_part

if TYPE_CHECKING:
    import uvicorn

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
    settings = settings_of_part(host=host, port=port)
    check_database(settings)
    listener = None if fd is None else socket.socket(fileno=fd)
    asyncio.run(_serve(settings, listener))


async def _serve(settings: "Settings", listener: socket.socket | None) -> None:
    """Open the services, and the socket, here and not inside uvicorn, which turns a refusal into a traceback
    or hangs on it."""
    import uvicorn

    from api.app import create_app
    from api.services import open_services
    from tasks.address import listen

    async with open_services(settings) as services:
        app = create_app(settings, services)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        app.state.is_stopping = lambda: server.should_exit
        _end_well(server)
        with listener or listen(settings) as listening:
            await server.serve(sockets=[listening])


def _end_well(server: "uvicorn.Server") -> None:
    """Being told to stop is no failure. Once it has stopped, uvicorn sends itself the signal again, for
    whoever listened before: that is this handler then, in place of the default, which kills."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
