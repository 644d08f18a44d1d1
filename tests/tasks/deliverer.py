"""A deliverer in the test's own process, and events for it."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from configs.settings import Settings
from store import webhooks
from store.deliveries import AttemptRow, DeliveryRow, attempts_of, find
from store.ids import new_event_id
from store.webhooks import EndpointRow
from tasks.deliver import Deliverer
from tests.fixtures.processes import wait_until

T = TypeVar("T")

ALLOW = "127.0.0.0/8"
SOON = (0.0, 0.05, 0.05, 0.05)  # four attempts at once, instead of ten over three days
NEVER_AGAIN = (0.0, 3600.0)


class Deliveries:
    """The database of a test: what is to be delivered, and what became of it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def endpoint(self, url: str, *event_types: str) -> EndpointRow:
        types = event_types or ("batch.completed",)
        return self.run(lambda conn: webhooks.insert(conn, 1, name="test", url=url, event_types=types))

    def event(self, *, endpoint: EndpointRow | None = None, url: str | None = None) -> int:
        """A new event for an endpoint or a URL: the id of its delivery."""
        event_id, kind = new_event_id(), "batch.completed"
        body = {"id": event_id, "object": "event", "created_at": 1, "type": kind, "data": {"id": "batch_x"}}
        receiver = endpoint.id if endpoint else "1 " + str(url).split("/")[2]
        with psycopg.connect(self.url) as conn:
            conn.execute(
                "INSERT INTO webhook_event (id, project_id, type, payload) VALUES (%s, 1, %s, %s)",
                (event_id, kind, json.dumps(body)),
            )
            row = conn.execute(
                "INSERT INTO delivery (project_id, event_id, endpoint_id, url, receiver) "
                "VALUES (1, %s, %s, %s, %s) RETURNING id",
                (event_id, endpoint.id if endpoint else None, url, receiver),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def find(self, delivery_id: int) -> DeliveryRow:
        row = self.run(lambda conn: find(conn, delivery_id, 1))
        assert row is not None
        return row

    def attempts(self, delivery_id: int) -> list[AttemptRow]:
        return self.run(lambda conn: attempts_of(conn, delivery_id))

    def endpoint_now(self, endpoint: EndpointRow) -> EndpointRow:
        row = self.run(lambda conn: webhooks.find(conn, endpoint.id, 1))
        assert row is not None
        return row

    def wait_for_state(self, delivery_id: int, state: str, seconds: float = 60.0) -> DeliveryRow:
        wait_until(lambda: self.find(delivery_id).state == state, seconds, f"the delivery is {state}")
        return self.find(delivery_id)

    def run(self, ask: Callable[[psycopg.AsyncConnection[Any]], Coroutine[Any, Any, T]]) -> T:
        async def connected() -> T:
            async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as conn:
                return await ask(conn)

        return asyncio.run(connected())


@contextmanager
def delivering(
    database_url: str, redis_url: str, folder: Path, *, allow: str = ALLOW, **options: Any
) -> Iterator[None]:
    """A deliverer works for the block, with the schedule `SOON` unless told otherwise."""
    settings = Settings(
        home=folder, database_url=database_url, redis_url=redis_url, webhook_allow=allow, stop_seconds=1.0
    )
    started, made = threading.Event(), list[tuple[Deliverer, asyncio.AbstractEventLoop]]()

    async def deliver() -> None:
        deliverer = Deliverer(settings, **{"schedule": SOON} | options)
        made.append((deliverer, asyncio.get_running_loop()))
        started.set()
        await deliverer.run()

    thread = threading.Thread(target=lambda: asyncio.run(deliver()), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield
    finally:
        deliverer, loop = made[0]
        loop.call_soon_threadsafe(deliverer.stop)
        thread.join(30)
        assert not thread.is_alive()
