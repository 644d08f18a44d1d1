"""The tables: the index of `store/schema/`. Postgres is the only truth; the classes and `migrations/` must
agree (a test compares them).

Statements are written as SQL text in the files of this folder, one file per noun: the hot ones (claim,
record, ingest) measured three times faster through psycopg directly than through the ORM.
"""

from store.schema import callers, files, jobs, slots, webhooks
from store.schema.base import Base

__all__ = ["Base", "callers", "files", "jobs", "slots", "webhooks"]
