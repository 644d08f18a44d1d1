"""Pokes over a real Redis."""

import select
from collections.abc import Iterator

import pytest
import redis
from structlog.testing import capture_logs

from tasks.pokes import PokeListener
from tasks.signals import Signals, connect


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def listener(client: redis.Redis) -> Iterator[PokeListener]:
    listener = PokeListener(client, ["bert", "echo"])
    yield listener
    listener.close()


def readable(listener: PokeListener, seconds: float) -> bool:
    fd = listener.fileno()
    assert fd is not None
    return bool(select.select([fd], [], [], seconds)[0])


def test_a_poke_makes_the_socket_readable_and_is_read_once(
    client: redis.Redis, listener: PokeListener
) -> None:
    listener.open()
    assert Signals(client).poke("bert") == 1
    assert readable(listener, 2.0)
    assert listener.read()
    assert not listener.read()


def test_the_confirmations_of_the_subscription_are_no_pokes(listener: PokeListener) -> None:
    listener.open()
    assert not readable(listener, 0.05)
    assert not listener.read()


def test_a_poke_of_another_family_is_not_heard(client: redis.Redis, listener: PokeListener) -> None:
    listener.open()
    assert Signals(client).poke("whisper") == 0
    assert not listener.read()


def test_nobody_is_counted_after_the_listener_has_closed(client: redis.Redis, listener: PokeListener) -> None:
    listener.open()
    listener.close()
    assert listener.fileno() is None
    assert Signals(client).poke("bert") == 0


def test_a_lost_connection_counts_as_a_poke_and_is_opened_again(
    client: redis.Redis, listener: PokeListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.pokes.RETRY_SECONDS", 0.0)
    listener.open()
    for connection in client.client_list():
        if int(connection["sub"]):
            client.client_kill_filter(_id=connection["id"])
    assert readable(listener, 2.0)
    assert listener.read()
    assert listener.fileno() is None
    listener.open()
    assert Signals(client).poke("echo") == 1
    assert listener.read() or (readable(listener, 2.0) and listener.read())


def test_a_redis_that_is_away_costs_signals_and_nothing_else(tmp_path: object) -> None:
    client = connect(f"unix://{tmp_path}/nobody.sock")
    signals, listener = Signals(client), PokeListener(client, ["echo"])
    listener.open()
    assert listener.fileno() is None
    assert signals.poke("echo") == 0
    assert signals.backlog("echo") is None
    assert not signals.reachable()


def test_a_redis_that_stays_away_is_said_once_and_once_that_it_is_back(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr("tasks.pokes.RETRY_SECONDS", 0.0)
    with capture_logs() as logs, connect(f"unix://{tmp_path}/nobody.sock") as nobody:
        listener = PokeListener(nobody, ["echo"])
        for _ in range(2):
            for _ in range(3):
                listener.open()
            assert [line["event"] for line in logs] == ["redis.lost"]
            listener.close()  # between two drains
        listener._client = client
        for _ in range(2):
            listener.open()
        listener.close()
    assert [line["event"] for line in logs] == ["redis.lost", "redis.back"]
