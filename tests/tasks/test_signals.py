"""Signals to a Redis that accepts and never answers: whoever sends goes on."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg_pool import AsyncConnectionPool

from tasks.app import make_app
from tasks.signals import AsyncSignals, connect_async
from tasks.submit import Submitter
from tests.tasks.slot import open_slot, settings_for


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The families that wake-ups were sent for: each would wait for ten seconds."""
    families: list[str] = []
    for module in ("tasks.submit", "tasks.controller"):
        monkeypatch.setattr(f"{module}.send_wake_up", lambda _, family: families.append(family))
    return families


@pytest.fixture
def hanging_url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


def test_a_redis_that_hangs_is_a_signal_lost(hanging_url: str) -> None:
    async def scenario() -> None:
        client = connect_async(hanging_url)
        signals = AsyncSignals(client)
        async with asyncio.timeout(60):
            assert await signals.poke("echo") is None
            for _ in range(1000):
                await signals.poke_dispatcher()
            assert not await signals.reachable()
        await client.aclose()

    asyncio.run(scenario())


def test_who_submits_sends_no_wake_up_to_a_redis_that_hangs(
    hanging_url: str, redis_url: str, tmp_path: Path, sent: list[str]
) -> None:
    async def submit_to(url: str) -> None:
        settings = settings_for(tmp_path, redis_url=url)
        client, pool = connect_async(url), AsyncConnectionPool("", open=False)
        await Submitter(settings, pool, AsyncSignals(client)).wake("echo")
        await client.aclose()

    asyncio.run(submit_to(hanging_url))
    assert sent == []
    asyncio.run(submit_to(redis_url))
    assert sent == ["echo"]


def test_a_drain_that_ends_sends_no_wake_up_to_a_redis_that_hangs(
    hanging_url: str, redis_url: str, database_url: str, tmp_path: Path, sent: list[str]
) -> None:
    for core, url in enumerate((hanging_url, redis_url)):
        controller = open_slot(settings_for(tmp_path, database_url=database_url, redis_url=url), core)
        controller.app = make_app(controller.settings)
        controller.wake_later()
        controller.close()
        assert sent == ["echo"] * core
