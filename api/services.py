"""What the routes work with: one object per process, opened when the API starts, passed in by tests."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from psycopg_pool import AsyncConnectionPool

from api.auth import Keys
from api.background import Background
from api.following import Following
from api.limits import Limits
from api.model_states import ModelStates
from api.rates import Rates
from configs.settings import Settings
from configs.spec_files import load_catalogue
from store.blobs import Blobs, open_blobs
from store.db import open_pool
from tasks.answers import Answers
from tasks.outgoing import AddressGuard
from tasks.signals import AsyncSignals, connect_async
from tasks.streams import JobStreams, connect_streams
from tasks.submit import Submitter


@dataclass(frozen=True, kw_only=True)
class Services:
    settings: Settings
    pool: AsyncConnectionPool
    blobs: Blobs
    keys: Keys
    limits: Limits
    models: ModelStates
    signals: AsyncSignals
    submitter: Submitter
    answers: Answers
    following: Following
    guard: AddressGuard
    rates: Rates = field(default_factory=Rates)
    background: Background = field(default_factory=Background)


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Connect to everything, and let go of it in the opposite order.

    Raises `DatabaseUnavailable`, and `KeyMissing` where the bind needs an API key.
    """
    if settings.database_url is None or settings.redis_url is None:
        raise RuntimeError(
            "BATCHYARD_DATABASE_URL and BATCHYARD_REDIS_URL are not set; `batchyard up` brings both"
        )
    async with AsyncExitStack() as stack:
        pool = open_pool(settings.database_url, name="api")
        await pool.open()
        stack.push_async_callback(pool.close)
        client = connect_async(settings.redis_url)
        stack.push_async_callback(client.aclose)
        keys = Keys(pool, host=settings.host)
        await keys.start(settings.api_key)
        signals = AsyncSignals(client)
        answers = Answers(pool, client)
        answers.start()
        stack.push_async_callback(answers.stop)
        streams = connect_streams(settings.redis_url)
        stack.push_async_callback(streams.aclose)
        background = Background()
        stack.push_async_callback(background.stop)
        yield Services(
            settings=settings,
            pool=pool,
            blobs=open_blobs(settings),
            keys=keys,
            limits=Limits(settings, pool),
            models=ModelStates(settings, load_catalogue(settings), pool),
            signals=signals,
            submitter=Submitter(settings, pool, signals),
            answers=answers,
            following=Following(pool, JobStreams(streams)),
            guard=AddressGuard(settings.webhook_allow or ""),
            background=background,
        )
