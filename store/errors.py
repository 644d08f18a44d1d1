"""Errors of the store. What is simply not there is `None`, not an error.

StoreError
├── DatabaseUnavailable   Postgres cannot be reached, went away, or gave up on a statement; try again
│   └── NotMigrated       it can be reached, and does not have our tables yet, or those of an older version
├── SchemaUnknown         the database was migrated by a newer (or another) version of this program
├── CoresTaken            a slot asked for cores that another slot of this host owns
├── KeyTaken              a job of the same API key has this idempotency key
└── BlobTooLarge          more bytes than the limit (`store/blobs.py`)
"""

from collections.abc import Mapping


class StoreError(Exception):
    """Root of what the store raises."""


class DatabaseUnavailable(StoreError):
    """Postgres cannot be reached, went away, or gave up on a statement. Nothing was committed that the
    caller knows of; trying again later is right."""


class NotMigrated(DatabaseUnavailable):
    """The database does not have our tables, or those of an older version. It may be migrated any moment."""

    def __init__(self) -> None:
        super().__init__("the database is not migrated; run: batchyard migrate")


class SchemaUnknown(StoreError):
    """The database is at a revision that this version of the program does not have."""


class KeyTaken(StoreError):
    """A job that was to be inserted has the idempotency key of another one of the same API key."""


class CoresTaken(StoreError):
    """Cores that another live slot of the same host owns: `holders` maps each to 'host:pid'."""

    def __init__(self, holders: Mapping[int, str]) -> None:
        self.holders = dict(holders)
        taken = ", ".join(f"core {core} by {holder}" for core, holder in sorted(self.holders.items()))
        super().__init__(f"already taken: {taken}")
