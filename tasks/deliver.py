"""The deliverer: it sends webhook events until they have arrived. Any number may run.

All state is in Postgres: it claims what is due, sends it, records how that went. Killed in between, another
sends the same event again under the same id. It looks every half second, and at once on a poke or when an
attempt has ended.
"""

import asyncio
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import structlog
from redis.exceptions import RedisError

from configs.settings import Settings
from store import attempts, webhooks
from store.attempts import Attempted, Claimed
from store.db import Pool, borrow, open_pool
from store.deliveries import DELIVERER
from store.errors import DatabaseUnavailable
from store.states import DeliveryState
from tasks.outgoing import AddressGuard
from tasks.sending import ANSWER_SECONDS, Outcome, Sender
from tasks.signals import DELIVER, connect_async
from tasks.verdicts import GIVE_UP_SECONDS, GONE, SCHEDULE, judge, quiet_seconds

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
LEASE_SECONDS = 2 * ANSWER_SECONDS  # an attempt and its record take less, or are given up
MOST_AT_ONCE = 256  # attempts wait for others' machines, not for ours
CONNECTIONS = 4


class Deliverer:
    """One deliverer process. `schedule` and `lease_seconds` are other than usual in tests."""

    def __init__(
        self,
        settings: Settings,
        *,
        schedule: Sequence[float] = SCHEDULE,
        lease_seconds: float = LEASE_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        if settings.database_url is None or settings.redis_url is None:
            raise ValueError("a deliverer needs BATCHYARD_DATABASE_URL and BATCHYARD_REDIS_URL")
        self._pool: Pool = open_pool(settings.database_url, name=DELIVERER, size=CONNECTIONS)
        self._redis = connect_async(settings.redis_url)
        self._sender = Sender(AddressGuard(settings.webhook_allow or ""), answer_seconds=answer_seconds)
        self._schedule = schedule
        self._lease_seconds = lease_seconds
        self._stop_seconds = settings.stop_seconds
        self._held: dict[asyncio.Task[None], Claimed] = {}
        self._quiet: dict[str, float] = {}  # receivers, and until when, on the monotonic clock
        self._wake, self._stopping = asyncio.Event(), asyncio.Event()
        self._away = False  # Postgres; said once, and once when it is over

    def stop(self) -> None:
        """Take nothing more; what is being sent gets its time. Also a signal handler."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped."""
        async with AsyncExitStack() as stack:
            await self._pool.open()
            stack.push_async_callback(self._pool.close)
            stack.push_async_callback(self._redis.aclose)
            await stack.enter_async_context(self._sender)
            listening = asyncio.create_task(self._listen())
            while not self._stopping.is_set():
                self._wake.clear()
                await self._look()
                await self._pause()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._let_go()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
        except TimeoutError:
            return

    async def _look(self) -> None:
        """Claim what is due, as far as there is room, and begin to send it."""
        now, room = time.monotonic(), MOST_AT_ONCE - len(self._held)
        self._quiet = {receiver: until for receiver, until in self._quiet.items() if until > now}
        if room <= 0:
            return
        try:
            async with borrow(self._pool) as conn:
                claimed = await attempts.claim(
                    conn, room=room, lease_seconds=self._lease_seconds, quiet=list(self._quiet)
                )
        except DatabaseUnavailable as error:
            self._lost(error)
            return
        except Exception:
            log.exception("deliverer.look_failed")
            return
        self._found()
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery))
            self._held[task] = delivery
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        held = self._held.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery.broken", delivery=held.id, exc_info=error)
        self._wake.set()

    async def _deliver(self, claimed: Claimed) -> None:
        """One attempt and its record."""
        until = time.monotonic() + self._lease_seconds
        try:
            secrets = await self._prepare(claimed)
        except DatabaseUnavailable as error:
            self._lost(error)
            return
        if secrets is None:
            return
        outcome = await self._sender.send(claimed.url, claimed.event_id, claimed.payload.encode(), secrets)
        attempted = judge(outcome, claimed.tries, self._schedule)
        if pause := quiet_seconds(outcome):
            self._quiet[claimed.receiver] = time.monotonic() + pause
        _say(claimed, outcome, attempted)
        await self._record(claimed, attempted, until)

    async def _prepare(self, claimed: Claimed) -> list[str] | None:
        """The secrets to sign with; None where nothing is to be sent. Raises DatabaseUnavailable."""
        if claimed.enabled and claimed.secrets:
            return claimed.secrets
        async with borrow(self._pool) as conn:
            if claimed.enabled:
                return (await webhooks.project_secret(conn, claimed.project_id)).secrets
            await attempts.close(conn, claimed)  # disabled while its event was written
        return None

    async def _record(self, claimed: Claimed, attempted: Attempted, until: float) -> None:
        """Write it down; while Postgres is away, again and again until the lease is over."""
        while time.monotonic() < until:
            try:
                async with borrow(self._pool) as conn:
                    failing_seconds = await attempts.record(conn, claimed, attempted)
                    reason = _reason_to_disable(attempted, failing_seconds or 0.0)
                    if claimed.endpoint_id is not None and failing_seconds is not None and reason:
                        await webhooks.disable(conn, claimed.endpoint_id, reason)
                        log.warning("endpoint.disabled", endpoint=claimed.endpoint_id, reason=reason)
                return
            except DatabaseUnavailable as error:
                self._lost(error)
                await asyncio.sleep(LOOK_SECONDS)
        log.warning("delivery.unrecorded", delivery=claimed.id, event_id=claimed.event_id)

    async def _listen(self) -> None:
        """Turn pokes into looks at once; without Redis the half second is enough."""
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(DELIVER)
                    while True:
                        if await pubsub.get_message(timeout=None) is not None:
                            self._wake.set()
            except (RedisError, OSError):
                await asyncio.sleep(LOOK_SECONDS)

    async def _let_go(self) -> None:
        """Wait for what is being sent, then give the rest back: another sends it anew."""
        if self._held:
            await asyncio.wait(self._held, timeout=self._stop_seconds)
        left = dict(self._held)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if left:
            try:
                async with borrow(self._pool) as conn:
                    await attempts.release(conn, list(left.values()))
            except DatabaseUnavailable as error:  # the leases run out by themselves
                self._lost(error)

    def _lost(self, error: DatabaseUnavailable) -> None:
        if not self._away:
            self._away = True
            log.warning("database.lost", error=str(error))

    def _found(self) -> None:
        if self._away:
            self._away = False
            log.info("database.back")


def _reason_to_disable(attempted: Attempted, failing_seconds: float) -> str | None:
    """Why nothing more should be sent to the endpoint, as a sentence for its owner."""
    if attempted.status_code == GONE and attempted.state is DeliveryState.DISABLED:
        return "The receiver answered with 410: it takes no more events."
    if attempted.state is not DeliveryState.DELIVERED and failing_seconds > GIVE_UP_SECONDS:
        return f"Every attempt has failed for {failing_seconds / 86_400:.0f} days; last: {attempted.error}."
    return None


def _say(claimed: Claimed, outcome: Outcome, attempted: Attempted) -> None:
    """Log the attempt, without the URL: people put secrets into those."""
    facts = {"delivery": claimed.id, "event_id": claimed.event_id, "receiver": claimed.receiver}
    facts |= {"status": outcome.status_code, "latency_ms": outcome.latency_ms}
    if outcome.succeeded:
        log.debug("delivery.arrived", **facts)
    else:
        log.info("delivery.failed", error=outcome.error, state=attempted.state.value, **facts)


def run(settings: Settings) -> None:
    """Be a deliverer until SIGTERM or SIGINT."""

    async def deliver() -> None:
        deliverer = Deliverer(settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, deliverer.stop)
        log.info("deliverer.started")
        await deliverer.run()
        log.info("deliverer.stopped")

    asyncio.run(deliver())
