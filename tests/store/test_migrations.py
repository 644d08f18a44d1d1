"""The migrations, run over an empty database, make exactly the tables of `store/tables.py`."""

from collections.abc import Callable

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from store import migrate
from store.errors import DatabaseUnavailable, SchemaUnknown
from store.tables import Base


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as conn:
        return {row[0] for row in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_upgrading_an_empty_database_leaves_nothing_for_autogenerate(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)

    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(empty_database_url), poolclass=NullPool
    )
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_index_definitions_agree_also_in_what_autogenerate_does_not_compare(
    empty_database_url: str, empty_database_factory: Callable[[], str]
) -> None:
    migrate.upgrade(empty_database_url)
    from_tables = empty_database_factory()
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(from_tables), poolclass=NullPool
    )
    Base.metadata.create_all(engine)

    def definitions(url: str) -> list[tuple[str, ...]]:
        statement = """
            SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
            UNION ALL
            SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conrelid::regclass::text <> 'alembic_version' AND connamespace = 'public'::regnamespace
            UNION ALL
            SELECT relname || ' ' || reloptions::text FROM pg_class WHERE reloptions IS NOT NULL
            ORDER BY 1"""
        with psycopg.connect(url) as conn:
            return conn.execute(statement).fetchall()

    assert definitions(empty_database_url) == definitions(from_tables)


def test_one_step_down_and_up_again(empty_database_url: str) -> None:
    assert migrate.current(empty_database_url) is None
    migrate.upgrade(empty_database_url)
    head = migrate.current(empty_database_url)
    full = tables(empty_database_url)

    migrate.downgrade(empty_database_url)
    assert migrate.current(empty_database_url) != head
    migrate.upgrade(empty_database_url)

    assert migrate.current(empty_database_url) == head
    assert tables(empty_database_url) == full


def test_taking_every_step_back_leaves_no_table_of_ours(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    while migrate.current(empty_database_url):
        migrate.downgrade(empty_database_url)
    assert tables(empty_database_url) == {"alembic_version"}


def test_upgrading_twice_changes_nothing(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    migrate.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SELECT id, name FROM project").fetchall() == [(1, "default")]
        assert conn.execute("SELECT id, name, hash FROM api_key").fetchall() == [(1, "anonymous", None)]


def test_a_database_of_a_newer_version_is_refused(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    with pytest.raises(SchemaUnknown, match="from_the_future"):
        migrate.upgrade(empty_database_url)


def test_a_database_that_is_not_there_is_unavailable(empty_database_url: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        migrate.upgrade(empty_database_url + "&dbname=nothing_of_this_name")
