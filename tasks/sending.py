"""One attempt: an event as a signed POST to a receiver, and what came of it. Never raises."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import httpx

from tasks.outgoing import AddressGuard, GuardedTransport, UrlRefused
from tasks.signing import signed_headers

ANSWER_SECONDS = 20.0  # Standard Webhooks asks for 15 to 30
# What follows the status is read for politeness: closing at once looks like a failure to some receivers.
BODY_SECONDS = 1.0
BODY_BYTES = 64 * 1024
USER_AGENT = "Batchyard-Webhooks/1"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an attempt came to. `latency_ms` is the time to the answer's status, or to the failure;
    `retry_after_seconds` is what the receiver asked for."""

    status_code: int | None
    latency_ms: int
    error: str | None
    retry_after_seconds: float | None = None

    @property
    def succeeded(self) -> bool:
        return self.error is None


class Sender:
    """Sends events where its guard lets it. Several sends may run at a time."""

    def __init__(self, guard: AddressGuard, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(guard),
            headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
            timeout=None,  # one for the whole of it, below
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def send(self, url: str, event_id: str, body: bytes, secrets: Sequence[str]) -> Outcome:
        """Stamp, sign and send. 2xx is success, anything else is not."""
        headers = signed_headers(secrets, event_id, int(time.time()), body)
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._answer_seconds) as limit:
                request = self._client.stream(
                    "POST", url, content=body, headers={**headers, "content-type": "application/json"}
                )
                async with request as response:
                    outcome = _answered(response, _milliseconds_since(started))
                    limit.reschedule(None)
                    await _read_some(response)
            return outcome
        except TimeoutError:
            error = f"no answer within {self._answer_seconds:g} s"
        except UrlRefused as refused:
            error = str(refused)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as failure:
            error = f"no answer: {str(failure) or type(failure).__name__}"
        return Outcome(status_code=None, latency_ms=_milliseconds_since(started), error=error[:500])


def _answered(response: httpx.Response, latency_ms: int) -> Outcome:
    status, error = response.status_code, None
    if 300 <= status < 400:
        error = f"answered with {status}; redirects are not followed"
    elif not response.is_success:
        error = f"answered with {status}"
    return Outcome(
        status_code=status,
        latency_ms=latency_ms,
        error=error,
        retry_after_seconds=retry_after(response.headers.get("retry-after")),
    )


def retry_after(header: str | None) -> float | None:
    """Seconds from now, of a Retry-After header in either of its forms; None where it has neither."""
    if header is None:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, float(int(header)))
    with contextlib.suppress(ValueError):
        moment = parsedate_to_datetime(header)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    return None


async def _read_some(response: httpx.Response) -> None:
    """Raw, so that nothing is unpacked. What goes wrong here changes nothing: the status has been seen."""
    with contextlib.suppress(TimeoutError, httpx.HTTPError, OSError):
        async with asyncio.timeout(BODY_SECONDS):
            size = 0
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > BODY_BYTES:
                    return


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
