"""`batchyard migrate`: bring the database to this version's schema."""

import typer

from cli.environment import settings_from
from cli.errors import WrongSetting


def migrate() -> None:
    """Migrate the database at BATCHYARD_DATABASE_URL. `up` does this by itself."""
    from configs import logging
    from store import migrate

    settings = settings_from()
    if settings.database_url is None:
        raise WrongSetting("BATCHYARD_DATABASE_URL is not set; `batchyard up` migrates the embedded Postgres")
    logging.configure(settings)
    migrate.upgrade(settings.database_url)
    typer.echo(f"migrated to {migrate.current(settings.database_url)}")
