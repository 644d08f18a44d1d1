"""Signals to a Redis that accepts and never answers: whoever sends goes on."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from tasks.signals import AsyncSignals, connect_async


@pytest.fixture
def hanging_url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


def test_a_redis_that_hangs_is_a_signal_lost(hanging_url: str) -> None:
    async def scenario() -> None:
        client = connect_async(hanging_url)
        signals = AsyncSignals(client)
        async with asyncio.timeout(60):
            assert await signals.poke("echo") == 0
            for _ in range(1000):
                await signals.poke_dispatcher()
            assert not await signals.reachable()
        await client.aclose()

    asyncio.run(scenario())
