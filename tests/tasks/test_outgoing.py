"""Where outgoing requests may go. Nothing here needs a network: names are resolved by the test."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from tasks.outgoing import AddressGuard, GuardedTransport, Resolve, UrlRefused
from tests.fixtures.serving import serving

PUBLIC = "93.184.216.34"
LOOPBACK = "127.0.0.0/8"


def names(**addresses: Sequence[str]) -> Resolve:
    """Names of one word that resolve as told; others as the system says (addresses, in any spelling)."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        if host in addresses:
            return addresses[host]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(entry[4][0]) for entry in found]

    return resolve


def refusal(
    url: str, *, allow: str = "", setting: str = "webhook_allow", resolve: Resolve | None = None
) -> str | None:
    """Why `url` is refused; None if it is not."""
    try:
        asyncio.run(
            AddressGuard(allow, setting=setting, resolve=resolve or names(public=[PUBLIC])).check(url)
        )
    except UrlRefused as refused:
        return str(refused)
    return None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0",
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.0.8",
        "192.88.99.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a00:1]",
        "[::127.0.0.1]",
        "[::ffff:0:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fec0::1]",
        "[fd00::1]",
        "[ff02::1]",
    ],
)
def test_an_address_that_is_not_public_is_refused_in_every_spelling(host: str) -> None:
    said = refusal(f"https://{host}/hook")
    assert said is not None
    assert "is not public" in said
    assert "BATCHYARD_WEBHOOK_ALLOW" in said
    assert "BATCHYARD_FETCH_ALLOW" in str(refusal(f"https://{host}/hook", setting="fetch_allow"))


@pytest.mark.parametrize("host", [PUBLIC, "public", "[2606:2800:21f:cb07::1]", "[::ffff:93.184.216.34]"])
def test_a_public_address_is_allowed(host: str) -> None:
    assert refusal(f"https://{host}/hook") is None


@pytest.mark.parametrize("url", ["http://public/", "https://public:8443/", "http://public:443/"])
def test_a_public_receiver_must_be_https_on_port_443(url: str) -> None:
    assert "https on port 443" in str(refusal(url))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8123/x", "https://127.9.9.9/", "http://[::ffff:127.0.0.1]:1/", "http://2130706433/"],
)
def test_an_allowed_network_is_reached_over_any_scheme_and_port(url: str) -> None:
    assert refusal(url, allow=LOOPBACK) is None
    assert refusal(url) is not None
    assert "is not public" in str(refusal("http://10.1.2.3/", allow=LOOPBACK))


@pytest.mark.parametrize("second", ["127.0.0.1", "fe80::1"])
def test_one_bad_address_among_a_names_addresses_is_enough(second: str) -> None:
    assert second in str(refusal("https://mixed/", resolve=names(mixed=[PUBLIC, second])))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "must read https://"),
        ("hook", "must read https://"),
        ("ftp://public/", "must read https://"),
        ("https:///x", "must read https://"),
        ("https://user:secret@public/", "user name or password"),
        ("https://public:99999/", "no port 99999"),
        ("http://127.0.0.1:0/", "no port 0"),
        ("https://public/\x00", "not a URL"),
        ("https://nowhere.invalid/", "does not resolve"),
        (f"https://{'a' * 64}.example/", "does not resolve"),
        ("https://public/" + "x" * 2048, "longer than 2,048"),
    ],
)
def test_what_is_no_url_of_a_receiver_is_refused_with_the_reason(url: str, message: str) -> None:
    assert message in str(refusal(url))
    assert "secret" not in str(refusal(url))
    assert not str(refusal(url)).endswith("..")


def test_a_list_of_networks_with_a_mistake_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'10\.1\.0\.1/16' is not a network"):
        AddressGuard("127.0.0.0/8, 10.1.0.1/16")


class Recorder(BaseHTTPRequestHandler):
    """Answers 200 and keeps each request's Host header and path."""

    seen: list[tuple[str | None, str]]

    def do_GET(self) -> None:
        self.seen.append((self.headers["host"], self.path))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    handler = type("Handler", (Recorder,), {"seen": []})
    with serving(HTTPServer(("127.0.0.1", 0), handler)) as server:
        yield server


def get(url: str, guard: AddressGuard, verify: ssl.SSLContext | bool = True) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=GuardedTransport(guard, verify=verify)) as client:
            return await client.get(url)

    return asyncio.run(ask())


def test_the_request_goes_to_the_checked_address_and_names_the_host(receiver: HTTPServer) -> None:
    guard = AddressGuard(LOOPBACK, resolve=names(hooks=["127.0.0.1"]))
    port = receiver.server_port
    assert get(f"http://hooks:{port}/a?b=c", guard).status_code == 200
    assert receiver.RequestHandlerClass.seen == [(f"hooks:{port}", "/a?b=c")]  # type: ignore[attr-defined]


def test_another_address_is_tried_where_one_does_not_answer(receiver: HTTPServer) -> None:
    guard = AddressGuard(LOOPBACK, resolve=names(hooks=["127.0.0.2", "127.0.0.1"]))
    assert get(f"http://hooks:{receiver.server_port}/", guard).status_code == 200


def test_a_name_that_becomes_private_after_its_check_is_refused_at_the_request(receiver: HTTPServer) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return next(answers)

    guard = AddressGuard(resolve=rebinding)
    url = "https://rebinding/"
    asyncio.run(guard.check(url))
    with pytest.raises(UrlRefused, match=r"127\.0\.0\.1, which is not public"):
        get(url, guard)
    assert receiver.RequestHandlerClass.seen == []  # type: ignore[attr-defined]


def test_the_environments_proxy_is_not_asked(receiver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{receiver.server_port}")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(httpx.ConnectError):
        get(f"http://127.0.0.1:{port}/", AddressGuard(LOOPBACK))
    assert receiver.RequestHandlerClass.seen == []  # type: ignore[attr-defined]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for `hooks.test` with its key, in one file."""
    path = tmp_path / "hooks.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hooks.test",
         "-addext", "subjectAltName=DNS:hooks.test", "-keyout", path, "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    with path.open("ab") as file:
        file.write((tmp_path / "cert.pem").read_bytes())
    return path


def test_tls_asks_for_the_hosts_name_and_verifies_it(receiver: HTTPServer, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    asked: list[str | None] = []
    context.sni_callback = lambda connection, name, of: asked.append(name)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    trust = ssl.create_default_context(cafile=str(certificate))
    guard = AddressGuard(
        LOOPBACK, resolve=names(**{"hooks.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    )
    port = receiver.server_port
    assert get(f"https://hooks.test:{port}/", guard, trust).status_code == 200
    with pytest.raises(httpx.ConnectError, match=r"other\.test"):
        get(f"https://other.test:{port}/", guard, trust)
    assert asked == ["hooks.test", "other.test"]
