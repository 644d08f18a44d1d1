"""How Alembic runs a migration: over the connection that `store/migrate.py` passes in, or, for a
developer's `alembic revision --autogenerate`, over one to `BATCHYARD_DATABASE_URL`."""

import psycopg
import sqlalchemy
from alembic import context
from sqlalchemy import Connection

from configs.settings import Settings
from store.tables import Base


def main() -> None:
    connection = context.config.attributes.get("connection")
    if connection is not None:
        run(connection)
        return
    url = Settings().database_url
    if url is None:
        raise SystemExit("set BATCHYARD_DATABASE_URL to the database to compare with")
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    with engine.connect() as connection:
        run(connection)


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


main()
