"""Brings a database to this version's schema, and back: Alembic, driven from here.

Replicas that start together wait for each other on an advisory lock; each revision is one transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.pool import NullPool

from store.errors import DatabaseUnavailable, SchemaUnknown

MIGRATION_LOCK = 0x6D696772  # any number that all versions agree on; this one spells "migr"


def upgrade(url: str, revision: str = "head") -> None:
    """Migrates to `revision`. Raises `DatabaseUnavailable` or `SchemaUnknown`."""
    with _session(url) as (connection, config):
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({MIGRATION_LOCK})"))
        connection.commit()  # the lock is the session's; Alembic wants to open its own transactions
        command.upgrade(config, revision)


def downgrade(url: str, steps: int = 1) -> None:
    """Takes the last `steps` revisions back. Raises `DatabaseUnavailable` or `SchemaUnknown`."""
    with _session(url) as (connection, config):
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({MIGRATION_LOCK})"))
        connection.commit()
        command.downgrade(config, f"-{steps}")


def current(url: str) -> str | None:
    """The revision that the database is at; None for an empty database."""
    with _session(url) as (connection, _):
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _session(url: str) -> Iterator[tuple[Connection, Config]]:
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool
    )
    config = Config()
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            yield connection, config
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable(str(error.orig).strip()) from error
    except CommandError as error:
        raise SchemaUnknown(str(error)) from error
