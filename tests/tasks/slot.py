"""A slot in the test's own process: a controller with real Postgres, Redis and engines, and jobs for it."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import psycopg

from backends.types import Lane
from configs.settings import Settings
from store import calls, db, jobs, slots
from store.ids import new_suffix
from store.items import NewItem
from tasks.controller import Controller

ECHO = "echo"


def settings_for(folder: Path, **changes: object) -> Settings:
    """Settings with short waits, so that a test sees a drain end, and a model that takes its time."""
    specs = folder / "specs"
    specs.mkdir(exist_ok=True)
    (specs / "slow.yaml").write_text("name: echo-slow\nfamily: echo\noptions:\n  delay_ms: 20\n")
    values = {
        "home": folder,
        "models": folder / "models",
        "linger_seconds": 0.2,
        "drain_seconds": 20.0,
        "stop_seconds": 2.0,
    }
    return Settings.model_validate(values | changes)


def open_slot(settings: Settings, core: int = 0) -> Controller:
    """A slot that owns `core` (made up: engines only pin to it where it exists)."""
    assert settings.database_url is not None
    with db.connect(settings.database_url, name="test") as conn:
        lease = slots.register(
            conn,
            boot_id="test",
            host="test",
            pid=1,
            families=[ECHO],
            cores=[core],
            available=[core],
            lease_seconds=60,
        )
    return Controller(settings, lease, [ECHO])


def submit(
    database_url: str,
    bodies: Sequence[object],
    *,
    model: str = ECHO,
    lane: Lane = Lane.BULK,
    view: str = "job",
    family: str = ECHO,
) -> int:
    """A job with one item for each body; returns its id. A body that is bytes is taken as it is."""
    raw = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    items = [NewItem(custom_id=str(n), body=body) for n, body in enumerate(raw)]
    return _insert(database_url, items, model=model, lane=lane, view=view, family=family)


def submit_in_parts(database_url: str, parts: int, *, model: str = ECHO) -> int:
    """An awaited call of one item in several parts; returns its job's id."""
    bodies = [json.dumps(text(n)).encode() for n in range(parts)]
    item = NewItem(custom_id="large", body=bodies[0], more_bodies=tuple(bodies[1:]))
    return _insert(database_url, [item], model=model, lane=Lane.INTERACTIVE, view="call")


def _insert(
    database_url: str, items: Sequence[NewItem], *, model: str, lane: Lane, view: str, family: str = ECHO
) -> int:
    new = jobs.NewJob(
        suffix=new_suffix(),
        view=view,  # type: ignore[arg-type]
        project_id=1,
        key_id=1,
        endpoint="/v1/embeddings",
        family=family,
        model=model,
        lane=lane,
    )

    async def insert() -> int:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
            return await calls.insert_call(conn, new, items)

    return asyncio.run(insert())


def cancel(database_url: str, job_id: int) -> None:
    async def ask() -> None:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
            await jobs.request_cancel(conn, job_id)

    asyncio.run(ask())


def text(n: int) -> dict[str, str]:
    return {"model": ECHO, "input": f"text number {n}"}
