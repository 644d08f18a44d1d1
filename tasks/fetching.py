"""Fetching recordings from the URLs that callers name: through the address guard, into blobs, several at
once, beside the slot's own work.
"""

import asyncio
import os
import ssl
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from urllib.parse import unquote, urlsplit

import httpx
import structlog

from backends.types import ErrorInfo, Lane
from store.attachments import NewAttachment
from store.blobs import Blobs, BlobTooLarge, BlobWriter
from tasks.outgoing import AddressGuard, GuardedTransport, NameUnresolved, UrlRefused

log = structlog.get_logger(__name__)

AT_ONCE = {Lane.INTERACTIVE: 16, Lane.BULK: 8}
CONNECT_SECONDS, SILENCE_SECONDS = 10.0, 30.0
LONGEST_SECONDS = 3600.0  # for all of a recording
SLOW_SECONDS, LEAST_BYTES = 60.0, 120_000  # in so long so much must come: who drips holds a place in a slot
PAUSES = (1.0, 5.0)  # before a fetch is tried again that failed for a reason that may pass
MOST_REDIRECTS = 5
MOST_NAME_CHARACTERS = 200
LASTING = (httpx.UnsupportedProtocol, httpx.InvalidURL)
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
HEADERS = {"user-agent": "Batchyard/1", "accept": "*/*", "accept-encoding": "identity"}


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a fetch came to: a blob that is complete and has no row yet, or the reason why there is none."""

    ticket: int
    result: NewAttachment | ErrorInfo


class _Failed(Exception):
    """A fetch that failed; `passing`: another try may succeed."""

    def __init__(self, message: str, *, code: str = "fetch_failed", passing: bool = False) -> None:
        super().__init__(message)
        self.code, self.passing = code, passing


class Fetcher:
    """Fetches for one slot, in a thread of its own that is started with the first fetch."""

    def __init__(self, blobs: Blobs, guard: AddressGuard, limit_bytes: int) -> None:
        self._blobs, self._guard, self._limit = blobs, guard, limit_bytes
        self._arrived: deque[Fetched] = deque()
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._turns = {lane: asyncio.Semaphore(count) for lane, count in AT_ONCE.items()}
        self._context: ssl.SSLContext | None = None

    def fileno(self) -> int:
        """Readable when a fetch has come to its end."""
        return self._fd

    def fetch(self, ticket: int, url: str, lane: Lane) -> None:
        """Begin to fetch `url`; what comes of it is given by `take` under this ticket, if it is not
        cancelled."""
        self._started().call_soon_threadsafe(self._begin, ticket, url, lane)

    def cancel(self, ticket: int) -> None:
        """A fetch is not wanted any more. It may have arrived already."""
        self._started().call_soon_threadsafe(self._end, ticket)

    def take(self) -> list[Fetched]:
        """What has arrived since the last time. Blobs are the caller's from here on."""
        if self._loop is None:
            return []
        with suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        taken = []
        while self._arrived:
            taken.append(self._arrived.popleft())
        return taken

    def close(self) -> None:
        """Cancel everything, and delete what nobody has taken."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        for fetched in self.take():
            if isinstance(fetched.result, NewAttachment):
                self._blobs.delete(fetched.result.blob)
        self._loop = self._thread = None
        os.close(self._fd)

    # --- in the thread

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._context = httpx.create_ssl_context(trust_env=False)
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._run, args=(self._loop,), name="fetch", daemon=True)
            self._thread.start()
        return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        running = list(self._tasks.values())
        for task in running:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*running, return_exceptions=True))
        loop.close()

    def _begin(self, ticket: int, url: str, lane: Lane) -> None:
        task = asyncio.get_running_loop().create_task(self._work(ticket, url, lane))
        self._tasks[ticket] = task
        task.add_done_callback(lambda _: self._tasks.pop(ticket))

    def _end(self, ticket: int) -> None:
        if ticket in self._tasks:
            self._tasks[ticket].cancel()

    async def _work(self, ticket: int, url: str, lane: Lane) -> None:
        result: NewAttachment | ErrorInfo
        try:
            async with self._turns[lane]:
                result = await self._fetch(url)
        except _Failed as failed:
            result = ErrorInfo(failed.code, str(failed), "url")
        except Exception:  # whatever it is, the part must not wait for ever
            log.exception("fetch.failed")
            result = ErrorInfo("server_error", "the recording could not be fetched: an error of ours", "url")
        self._arrived.append(Fetched(ticket=ticket, result=result))
        os.eventfd_write(self._fd, 1)

    async def _fetch(self, url: str) -> NewAttachment:
        """The recording; tried again where that may help. Raises `_Failed`."""
        for pause in PAUSES:
            try:
                return await self._try(url)
            except _Failed as failed:
                if not failed.passing:
                    raise
                log.info("fetch.repeated", reason=str(failed), pause=pause)
            await asyncio.sleep(pause)
        return await self._try(url)

    async def _try(self, url: str) -> NewAttachment:
        """Each redirect is a request of its own to the guard. No client is shared, since cookies are one
        caller's."""
        client = httpx.AsyncClient(
            transport=GuardedTransport(self._guard, verify=self._context or True),
            headers=HEADERS,
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
        )
        begun = time.monotonic()
        with _storing():
            writer = self._blobs.create(limit=self._limit)
        try:
            async with asyncio.timeout(SLOW_SECONDS) as limit, client, _answer(client, url) as response:
                self._check(response)
                await _receive(response, writer, limit)
            return _committed(writer, _name_of(response))  # once nothing can keep us from giving it on
        except UrlRefused as refused:
            passing = isinstance(refused, NameUnresolved)
            raise _Failed(str(refused), code="invalid_audio_url", passing=passing) from None
        except BlobTooLarge as error:
            raise _Failed(f"the recording is {error}", code="file_too_large") from None
        except TimeoutError:
            raise _Failed(_too_slow(time.monotonic() - begun)) from None
        except LASTING as error:
            raise _Failed(f"the recording could not be fetched: {error}") from None
        except (httpx.HTTPError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise _Failed(f"the recording could not be fetched: {reason}", passing=True) from None
        finally:
            writer.abort()  # does nothing after a commit

    def _check(self, response: httpx.Response) -> None:
        """Raises `_Failed` and `BlobTooLarge` for an answer that is no recording.

        One that is encoded was not asked for, and may be a bomb: 5 kB of gzip in gzip are gigabytes, which
        the client would decode at once.
        """
        if not response.is_success:
            status = response.status_code
            raise _Failed(f"the recording's server answered with {status}", passing=status in PASSING)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise _Failed(f"the recording's server encoded it ({encoding[:40]}), which was not asked for")
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._limit:
            raise BlobTooLarge(self._limit)


@asynccontextmanager
async def _answer(client: httpx.AsyncClient, url: str) -> AsyncIterator[httpx.Response]:
    """What answers in the end. Redirects are followed here, since the client would read their bodies whole.

    Raises `_Failed`, and what the client raises.
    """
    request: httpx.Request | None = client.build_request("GET", url)
    for _ in range(1 + MOST_REDIRECTS):
        assert request is not None
        response = await client.send(request, stream=True)
        try:
            request = response.next_request
            if request is None:
                yield response
                return
        finally:
            await response.aclose()
    raise _Failed(f"the recording could not be fetched: it was redirected more than {MOST_REDIRECTS} times")


async def _receive(response: httpx.Response, writer: BlobWriter, limit: asyncio.Timeout) -> None:
    """The body as it comes; `limit` is put off as long as enough of it does."""
    loop, came = asyncio.get_running_loop(), 0
    until = loop.time() + LONGEST_SECONDS
    async for data in response.aiter_raw():
        with _storing():
            writer.write(data)
        came += len(data)
        if came >= LEAST_BYTES:
            limit.reschedule(min(loop.time() + SLOW_SECONDS, until))
            came = 0


def _committed(writer: BlobWriter, name: str) -> NewAttachment:
    with _storing():
        blob = writer.commit()
    return NewAttachment(blob=blob.name, name=name, size_bytes=blob.size_bytes)


@contextmanager
def _storing() -> Iterator[None]:
    """What fails on our disk is no fault of the recording's server, and names paths of ours."""
    try:
        yield
    except OSError as error:
        reason = f"the recording could not be stored: {error.strerror or type(error).__name__}"
        raise _Failed(reason, code="server_error", passing=True) from None


def _too_slow(seconds: float) -> str:
    if seconds >= LONGEST_SECONDS:
        return f"the recording did not arrive within {LONGEST_SECONDS / 60:.0f} minutes"
    return f"the recording came too slowly: less than {LEAST_BYTES // 1000} kB in {SLOW_SECONDS:.0f} seconds"


def _name_of(response: httpx.Response) -> str:
    """What the recording is called: by its server, or by its URL."""
    header = Message()
    header["content-disposition"] = response.headers.get("content-disposition", "")
    name = header.get_filename() or unquote(urlsplit(str(response.url)).path)
    name = name.replace("\\", "/").rpartition("/")[2]
    return "".join(filter(str.isprintable, name))[:MOST_NAME_CHARACTERS] or "recording"
