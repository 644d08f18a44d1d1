"""What retention would delete, counted by the conditions that it deletes by."""

from typing import Any

from psycopg import Connection

from store import attachments, deliveries, files, lifecycle, uploads
from store.db import map_errors
from store.ids import View


@map_errors()
def count_ended(conn: Connection[Any], view: View, keep_seconds: float) -> int:
    """Jobs of a view that ended longer ago than this."""
    statement = f"SELECT count(*) FROM job WHERE {lifecycle.IS_PAST}"
    row = conn.execute(statement, {"view": view, "keep": keep_seconds}).fetchone()
    assert row is not None
    return int(row[0])


@map_errors()
def count_blobs(conn: Connection[Any]) -> tuple[int, int]:
    """Blobs of expired files, of uploads that have ended, of attachments that nothing needs; their bytes."""
    statement = f"""
    SELECT count(*), coalesce(sum(size_bytes), 0)::bigint FROM (
        SELECT size_bytes FROM file WHERE blob IS NOT NULL AND {files.IS_PAST}
        UNION ALL
        SELECT upload_part.size_bytes FROM upload_part JOIN upload ON upload.id = upload_id
        WHERE {uploads.IS_PAST}
        UNION ALL
        SELECT max(size_bytes) FROM attachment GROUP BY blob HAVING bool_and({attachments.IS_PAST})
    ) AS past"""
    row = conn.execute(statement).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


@map_errors()
def count_events(conn: Connection[Any], keep_seconds: float) -> int:
    """Events of webhooks that are older than this, and delivered or given up."""
    statement = f"SELECT count(*) FROM webhook_event AS event WHERE {deliveries.IS_PAST}"
    row = conn.execute(statement, (keep_seconds,)).fetchone()
    assert row is not None
    return int(row[0])
