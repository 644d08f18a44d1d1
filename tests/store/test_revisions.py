"""A database of another version is refused, with what to do about it."""

from importlib.resources import files
from typing import Any

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from store import migrate
from store.db import connect
from store.errors import NotMigrated, SchemaUnknown
from store.revisions import REVISIONS, check

Conn = psycopg.Connection[Any]


def test_the_revisions_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    made = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert list(REVISIONS) == made[::-1]


def test_a_database_of_this_version_passes(conn: Conn) -> None:
    check(conn)


def test_an_empty_database_and_one_of_an_older_version_want_to_be_migrated(empty_database_url: str) -> None:
    with connect(empty_database_url, name="test") as conn:
        for revision in (None, REVISIONS[0]):
            if revision is not None:
                migrate.upgrade(empty_database_url, revision)
            with pytest.raises(NotMigrated, match="batchyard migrate"):
                check(conn)


def test_a_database_of_a_newer_version_is_refused(conn: Conn) -> None:
    conn.execute("UPDATE alembic_version SET version_num = 'fromthefuture'")
    with pytest.raises(SchemaUnknown, match="restore the backup"):
        check(conn)
