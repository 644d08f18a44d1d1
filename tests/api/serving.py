"""The API in the test's own process, over real Postgres and Redis, with nobody who computes: what is
submitted stays queued until the test drains it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from api.app import create_app
from api.services import open_services
from configs.settings import Settings
from store import slots
from tasks.drain import drain
from tests.tasks.slot import open_slot

EMBEDDINGS = "/v1/embeddings"
BODY = {"model": "echo", "input": "some text"}


@asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """One API process, as good as: a client of it."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(running(settings))
        transport = httpx.ASGITransport(app)
        yield await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60)
        )


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    """An application whose services are open."""
    async with open_services(settings) as services:
        app = create_app(settings, services)
        app.state.services = services
        yield app


async def compute(settings: Settings) -> None:
    """Be a slot until nothing is left."""

    def work() -> None:
        controller = open_slot(settings)
        drain(controller)
        slots.leave(controller.conn.get(), controller.slot.slot_id)
        controller.close()

    await asyncio.to_thread(work)


async def hang_up(
    app: FastAPI,
    body: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    gone: asyncio.Event,
    path: str = EMBEDDINGS,
) -> None:
    """POST a call, an embedding unless said otherwise, and disconnect at `gone`."""
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    await app(scope, receive, send)


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert condition(), what
