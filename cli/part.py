"""What the parts of a service share that are run apart: their settings, and a database that is ready."""

from typing import TYPE_CHECKING, Any

from cli.environment import settings_from
from cli.errors import WrongSetting

if TYPE_CHECKING:
    from configs.settings import Settings


def settings_of_part(**options: Any) -> "Settings":
    """The settings, and logging as they say. Raises `WrongSetting`, also where there are no URLs."""
    from configs import logging

    settings = settings_from(**options)
    urls = {"BATCHYARD_DATABASE_URL": settings.database_url, "BATCHYARD_REDIS_URL": settings.redis_url}
    missing = [name for name, url in urls.items() if url is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise WrongSetting(
            f"{' and '.join(missing)} {are} not set: name servers of your own, or run the whole service with "
            "`batchyard up`, which brings both"
        )
    logging.configure(settings)
    return settings


def check_database(settings: "Settings") -> None:
    """See that the database is there and of this version, which a part that goes on by itself would only log.

    Raises `DatabaseUnavailable`, `NotMigrated`, `SchemaUnknown`.
    """
    from store import db, revisions

    assert settings.database_url is not None
    with db.connect(settings.database_url, name="batchyard") as conn:
        revisions.check(conn)
