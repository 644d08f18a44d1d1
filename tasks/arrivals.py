"""What held parts wait for: asked of the fetcher, kept once it has come, and given to them."""

import itertools
from collections import deque

import psycopg
import structlog

from backends.types import ErrorInfo, Source
from configs.settings import Settings
from store import attachments
from store.attachments import NewAttachment
from store.blobs import Blobs
from tasks.attachments import source_of
from tasks.fetching import Fetched, Fetcher
from tasks.holding import Holding
from tasks.outgoing import AddressGuard

log = structlog.get_logger(__name__)


class Arrivals:
    """For one slot. Parts are asked for by `begin`; `step` gives them what has come."""

    def __init__(self, settings: Settings, blobs: Blobs) -> None:
        guard = AddressGuard(settings.fetch_allow or "", setting="fetch_allow")
        self._blobs = blobs
        self._fetcher = Fetcher(blobs, guard, settings.max_fetch_bytes)
        self._tickets = itertools.count(1)
        self._asked: dict[int, tuple[Holding, int]] = {}  # by ticket: who waits, and the key of its part
        self._come: deque[Fetched] = deque()  # not given yet: the database may be away

    def fileno(self) -> int:
        """Readable when something has come."""
        return self._fetcher.fileno()

    def begin(self, holding: Holding) -> None:
        """Ask for what parts of `holding` wait for since the last time."""
        known = {key for held, key in self._asked.values() if held is holding}
        for key in holding.fetching.keys() - known:
            ticket = next(self._tickets)
            self._asked[ticket] = (holding, key)
            lane = holding.parts[key].chunk.lane
            self._fetcher.fetch(ticket, holding.fetching[key], lane)

    def step(self, conn: psycopg.Connection) -> None:
        """Give parts what has come for them; forget what nobody waits for any more. Raises
        DatabaseUnavailable, and may then be called again."""
        self._come += self._fetcher.take()
        while self._come:
            self._give(conn, self._come[0])
            self._come.popleft()
        unwanted = [ticket for ticket, (holding, key) in self._asked.items() if key not in holding.fetching]
        for ticket in unwanted:
            self._fetcher.cancel(ticket)
            del self._asked[ticket]

    def close(self) -> None:
        """Cancel all fetches, and delete what nobody has got."""
        self._fetcher.close()
        for fetched in self._come:
            if isinstance(fetched.result, NewAttachment):
                self._blobs.delete(fetched.result.blob)

    def _give(self, conn: psycopg.Connection, fetched: Fetched) -> None:
        holding, key = self._asked.get(fetched.ticket, (None, 0))
        waits = holding is not None and key in holding.fetching
        result = fetched.result
        if isinstance(result, ErrorInfo):
            log.info("fetch.failed", code=result.code, error=result.message)
            if holding is not None:
                holding.arrived(key, result)
        elif holding is not None and waits and (source := self._keep(conn, holding, key, result)) is not None:
            holding.arrived(key, source)
        else:  # its job was cancelled or deleted meanwhile
            self._blobs.delete(result.blob)

    def _keep(
        self, conn: psycopg.Connection, holding: Holding, key: int, attachment: NewAttachment
    ) -> Source | ErrorInfo | None:
        """What was fetched, for others too that take the part over; None where its job is gone."""
        held = holding.parts[key]
        job_id = held.chunk.claim.job_id
        if not attachments.insert_fetched(conn, job_id, held.n, attachment):
            return None
        log.info("fetch.arrived", job=held.chunk.claim.suffix, item=held.n, bytes=attachment.size_bytes)
        return source_of(self._blobs, attachment.blob, attachment.name)
