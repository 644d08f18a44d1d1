"""Requests to URLs that callers name (webhooks, recordings): where they may go, and that they go there.

A name is resolved once per request; every address that it has must be allowed, and the connection is made to
one of those addresses, so that a name which changes its mind in between (DNS rebinding) gains nothing.
Addresses are judged, never strings: `2130706433`, `0x7f.1` and `localhost` are all 127.0.0.1.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from configs.networks import parse_networks
from configs.settings import PREFIX

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

MOST_URL_CHARACTERS = 2048
RESOLVE_SECONDS = 5.0
PUBLIC_PORT = 443

# Public by `ipaddress.is_global` (Python 3.11), and yet ways to an address inside, or to many.
DENIED: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "224.0.0.0/4",  # multicast
        "2001::/23",  # Teredo and other protocol assignments
        "2002::/16",  # 6to4: an IPv4 address inside
    )
)
GLOBAL_UNICAST = ip_network("2000::/3")  # outside lie NAT64, ::a.b.c.d, link- and site-local, multicast
# getaddrinfo blocks: threads of its own, so that names that take long hold up nobody else's.
_RESOLVERS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="resolve")


class UrlRefused(Exception):
    """A URL that we send no request to; the message says why, and what would be allowed."""


class NameUnresolved(UrlRefused):
    """The URL's host has no address that is known now: there may be one later."""


class AddressGuard:
    """Says where outgoing requests may go: to public addresses over https on port 443, and to the networks
    of `allow` (comma-separated, `127.0.0.0/8,10.1.0.0/16`) over http or https on any port."""

    def __init__(
        self, allow: str = "", *, setting: str = "webhook_allow", resolve: Resolve | None = None
    ) -> None:
        """`setting` is what `allow` is set by. `resolve` gives the addresses of a host; the default asks the
        system. Raises ValueError."""
        self._allowed = parse_networks(allow)
        self._variable = PREFIX + setting.upper()
        self._resolve = resolve or _ask_system

    async def check(self, url: str) -> None:
        """Raises `UrlRefused` unless a request may go to `url` now."""
        if len(url) > MOST_URL_CHARACTERS:
            raise UrlRefused(f"The URL is longer than {MOST_URL_CHARACTERS:,} characters.")
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError) as error:  # ValueError: what its IDNA library does not take
            raise UrlRefused(f"That is not a URL: {str(error).rstrip('.')}.") from None
        await self.addresses(parsed)

    async def addresses(self, url: httpx.URL) -> list[str]:
        """The addresses that a request to `url` may connect to, all of the host's. Raises `UrlRefused`."""
        host = url.raw_host.decode("ascii")
        if url.scheme not in ("http", "https") or not host:
            raise UrlRefused("The URL must read https://HOST/… (or http:// to an allowed network).")
        if url.userinfo:
            raise UrlRefused("The URL must not carry a user name or password.")
        port = {"http": 80, "https": 443}[url.scheme] if url.port is None else url.port
        if not 0 < port < 65536:
            raise UrlRefused(f"There is no port {port}.")
        found = [ip_address(text) for text in await self._resolved(host, port)]
        outside = [address for address in map(unmapped, found) if not self._is_allowed(address)]
        for address in outside:
            if not is_public(address):
                raise UrlRefused(
                    f"'{host}' has the address {address}, which is not public; the operator can allow its "
                    f"network with {self._variable}."
                )
        if outside and (url.scheme != "https" or port != PUBLIC_PORT):
            raise UrlRefused(
                f"A public address must be https on port {PUBLIC_PORT}; the operator can allow others by "
                f"their network with {self._variable}."
            )
        return [str(address) for address in found]

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self._allowed)

    async def _resolved(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await asyncio.wait_for(self._resolve(host, port), RESOLVE_SECONDS)
        except TimeoutError:
            raise NameUnresolved(f"The name '{host}' could not be resolved in time.") from None
        except (OSError, ValueError):  # ValueError: a name that cannot be asked for, such as one with NUL
            found = ()
        if not found:
            raise NameUnresolved(f"The name '{host}' does not resolve to an address.")
        return found


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends to a checked address what is meant for the URL's host: `Host` and the name that TLS asks for and
    verifies stay the host's. No proxies, no kept connections: each request is checked anew.

    Raises `UrlRefused` besides httpx's own errors.
    """

    def __init__(self, guard: AddressGuard, *, verify: ssl.SSLContext | bool = True) -> None:
        """`verify`: which certificates to trust, where it is not the usual ones."""
        self._guard = guard
        # A kept connection would be found by its address alone, though TLS verified another name on it.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._below = httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        *others, last = await self._guard.addresses(request.url)
        for address in others:
            try:
                return await self._below.handle_async_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue  # nothing has been sent: another address of the same host may answer
        return await self._below.handle_async_request(_pinned(request, last))

    async def aclose(self) -> None:
        await self._below.aclose()


def unmapped(address: Address) -> Address:
    """The IPv4 address that an IPv4-mapped one (`::ffff:127.0.0.1`) stands for; others as they are."""
    return getattr(address, "ipv4_mapped", None) or address


def is_public(address: Address) -> bool:
    """Whether an address (not an IPv4-mapped one) belongs to one host on the open internet."""
    if not address.is_global or any(address in network for network in DENIED):
        return False
    return address.version == 4 or address in GLOBAL_UNICAST


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """The request with its URL's host replaced by `address`; its `Host` header is set already."""
    host = request.url.raw_host.decode("ascii")
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )


async def _ask_system(host: str, port: int) -> Sequence[str]:
    def ask() -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))

    return await asyncio.get_running_loop().run_in_executor(_RESOLVERS, ask)
