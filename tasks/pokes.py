"""The listening side of pokes: a Redis subscription in a drain's poll set.

A pub/sub signal reaches a slot in 4 ms, also in the middle of a bulk chunk; a poll would cost its interval.
"""

import contextlib
import time
from collections.abc import Sequence

import redis
import structlog
from redis.exceptions import RedisError

from tasks.signals import poke_channel

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5
CONFIRM_SECONDS = 1.0


class PokeListener:
    """Subscribed while a drain runs. Redis may go away and come back at any time."""

    def __init__(self, client: redis.Redis, families: Sequence[str]) -> None:
        self._client = client
        self._channels = [poke_channel(family) for family in families]
        self._pubsub: redis.client.PubSub | None = None
        self._retry_at = 0.0
        self._away = False  # said once, and once when it is over

    def open(self) -> None:
        """Subscribe and wait for the confirmation: a poke sent from here on arrives."""
        if self._pubsub is not None or time.monotonic() < self._retry_at:
            return
        pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]
        try:
            pubsub.subscribe(*self._channels)
            self._await_confirmation(pubsub, "subscribe")
        except (RedisError, OSError) as error:
            self._lost(pubsub, error)
        else:
            self._pubsub = pubsub
            if self._away:
                self._away = False
                log.info("redis.back")

    def fileno(self) -> int | None:
        """The socket to poll; None while Redis is away."""
        # redis-py offers no public way to the socket; test_pokes covers this.
        sock = getattr(getattr(self._pubsub, "connection", None), "_sock", None)
        return None if sock is None else int(sock.fileno())

    def read(self) -> bool:
        """Take all that has arrived; True if any of it was a poke."""
        poked, pubsub = False, self._pubsub
        while pubsub is not None:
            try:
                message = pubsub.get_message(timeout=0)
            except (RedisError, OSError) as error:
                self._lost(pubsub, error)
                return True  # a poke may have been lost with the connection: look
            if message is None:
                break
            poked |= message["type"] == "message"
        return poked

    def close(self) -> None:
        """Stop listening, and wait until Redis counts us out: whoever pokes from here on knows that nobody
        listens. Look once more afterwards: a poke may have come just before."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with contextlib.suppress(RedisError, OSError):
                pubsub.unsubscribe(*self._channels)  # type: ignore[no-untyped-call]
                self._await_confirmation(pubsub, "unsubscribe")
            with contextlib.suppress(RedisError, OSError):
                pubsub.close()

    def _await_confirmation(self, pubsub: redis.client.PubSub, kind: str) -> None:
        confirmed, until = 0, time.monotonic() + CONFIRM_SECONDS
        while confirmed < len(self._channels) and time.monotonic() < until:
            message = pubsub.get_message(timeout=CONFIRM_SECONDS)
            confirmed += message is not None and message["type"] == kind

    def _lost(self, pubsub: redis.client.PubSub, error: Exception) -> None:
        if not self._away:
            self._away = True
            log.warning("redis.lost", error=str(error))
        self._pubsub = None
        self._retry_at = time.monotonic() + RETRY_SECONDS
        with contextlib.suppress(RedisError, OSError):
            pubsub.close()
