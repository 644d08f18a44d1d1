"""Which schema this version works with: the revisions of `migrations/`, so that a part that starts need not
load Alembic to see that a database is of another version."""

from typing import Any

from psycopg import Connection

from store.db import map_errors
from store.errors import NotMigrated, SchemaUnknown

REVISIONS = (
    "4f1c2a7d90b3",
    "b7d05e3c61fa",
    "c93a1e07b5d2",
)  # the oldest first; a test compares with `migrations/`


@map_errors()
def check(conn: Connection[Any]) -> None:
    """Raises `NotMigrated` for an empty database or an older version's, `SchemaUnknown` for a newer one's."""
    row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    found = row[0] if row is not None else None
    if found == REVISIONS[-1]:
        return
    if found is None or found in REVISIONS:
        raise NotMigrated
    raise SchemaUnknown(
        f"the database is at revision {found}, which this version of Batchyard does not know: install the "
        "version that migrated it, or restore the backup from before"
    )
