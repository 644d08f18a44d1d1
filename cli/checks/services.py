"""Postgres and Redis, embedded or at a URL, and whether a service answers already."""

from collections.abc import Iterator

from cli.checks.finding import Finding, note, ok, problem
from cli.client import Client
from cli.errors import CommandFailed
from configs.settings import Settings
from store.embedded.account import closed_folder, service_account
from store.embedded.binaries import find_binaries
from store.errors import StoreError


def check_services(settings: Settings, url: str, api_key: str | None) -> Iterator[Finding]:
    if settings.database_url is None or settings.redis_url is None:
        yield from _embedded(settings)
    if settings.database_url is not None:
        yield _database(settings.database_url)
    if settings.redis_url is not None:
        yield _redis(settings.redis_url)
    yield describe_service(url, api_key)


def _embedded(settings: Settings) -> Iterator[Finding]:
    """Looks without copying or making anything, which `up` would do."""
    try:
        find_binaries(settings.home, None)
        yield ok("services", "the Postgres and Redis of the wheels run on this machine")
        account = service_account(settings.home / "postgres")
    except StoreError as error:
        instead = "or use servers of your own: BATCHYARD_DATABASE_URL and BATCHYARD_REDIS_URL"
        yield problem("services", str(error), instead)
        return
    if account is None:
        return
    existing = next(path for path in (settings.home, *settings.home.absolute().parents) if path.exists())
    closed = closed_folder(existing.absolute(), account)
    if closed is None:
        yield ok("services", f"run as the account '{account.name}', since Postgres refuses root")
    else:
        yield problem(
            "services",
            f"run as '{account.name}', and {closed} is closed to that account",
            f"name another home with --home, or: chmod o+x {closed}",
        )


def _database(url: str) -> Finding:
    from store import db, migrate

    try:
        with db.connect(url, name="batchyard doctor") as connection:
            db.ping(connection)
        revision = migrate.current(url)
    except StoreError as error:
        return problem("database", f"BATCHYARD_DATABASE_URL does not answer: {error}", "see that it runs")
    if revision is None:
        return note("database", "it answers, and has no tables yet", "run: batchyard migrate")
    return ok("database", f"it answers, at migration {revision}")


def _redis(url: str) -> Finding:
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        return problem("redis", f"BATCHYARD_REDIS_URL does not answer: {error}", "see that it runs")
    return ok("redis", "it answers")


def describe_service(url: str, api_key: str | None) -> Finding:
    with Client(url, api_key) as client:
        try:
            client.get("/health")
        except CommandFailed:
            return note("service", f"none answers at {url}", "start one with: batchyard up")
    return ok("service", f"one answers at {url}")
