"""The address of the API: a socket, or why there can be none, and a URL."""

import socket
from pathlib import Path

import pytest

from configs.settings import Settings
from tasks.address import listen, url_of
from tasks.refusals import ArgumentRefused, StartRefused


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", port=0)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("::", "http://[::1]:80"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_the_url_is_one_that_this_host_can_call(settings: Settings, host: str, url: str) -> None:
    assert url_of(settings.model_copy(update={"host": host, "port": 80})) == url


def test_port_zero_becomes_a_free_port(settings: Settings) -> None:
    with listen(settings) as listener:
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1", "2001:db8::1", "x" * 70])
def test_an_address_that_is_not_ours_is_at_fault_and_not_the_port(settings: Settings, host: str) -> None:
    with pytest.raises(ArgumentRefused, match=f"cannot bind {host} port 0: .* with --host$"):
        listen(settings.model_copy(update={"host": host}))


def test_a_taken_port_is_refused(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"port {port}: Address already in use; choose another port with --port"
        with pytest.raises(StartRefused, match=message) as refused:
            listen(settings.model_copy(update={"port": port}))
    assert not isinstance(refused.value, ArgumentRefused)
