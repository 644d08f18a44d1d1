"""A preview counts what pruning then deletes, and deletes nothing itself."""

from pathlib import Path

import psycopg
import pytest

from configs.settings import Settings
from store import attachments
from store.blobs import open_blobs
from store.errors import DatabaseUnavailable
from tasks.retention import Pruning, Retention
from tests.tasks.slot import settings_for, submit, text


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return settings_for(tmp_path, database_url=database_url)


def test_a_preview_is_what_pruning_deletes(settings: Settings, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        _end_long_ago(
            conn, [submit(database_url, [text(0)], view=view) for view in ("batch", "batch", "call")]
        )
        submit(database_url, [text(0)])  # is open
        blobs = open_blobs(settings)
        names = []
        for size in (10, 20, 5):
            writer = blobs.create()
            writer.write(b"x" * size)
            names.append(writer.commit().name)
        _insert_file(conn, "file-old", names[0], 10, "-1 s")
        _insert_file(conn, "file-young", names[1], 20, "1 h")
        conn.execute(
            "INSERT INTO attachment (blob, name, size_bytes, created_at)"
            " VALUES (%s, 'call.wav', 5, now() - interval '2 hours')",
            (names[2],),
        )
        _insert_event(conn, "evt_sent", days=31)
        _insert_event(conn, "evt_unsent", days=31, pending=True)
        _insert_event(conn, "evt_young", days=29)
        retention = Retention(settings, blobs)
        expected = Pruning(jobs=retention.preview(conn).jobs, files=2, bytes=15, events=1)
        assert {view: count for view, count in expected.jobs.items() if count} == {"batch": 2, "call": 1}
        assert retention.preview(conn) == expected  # the first one deleted nothing
        assert retention.prune_all(conn) == expected
        assert retention.prune_all(conn) == Pruning(jobs=retention.preview(conn).jobs)
        assert [blobs.path(name).exists() for name in names] == [False, True, False]
        assert ids(conn, "webhook_event") == ["evt_unsent", "evt_young"]
        assert ids(conn, "file") == ["file-young"]
        assert len(ids(conn, "job")) == 1


def test_no_blob_is_left_behind_where_the_database_goes_away_between(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(conn: object) -> list[str]:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(attachments, "expired", away)
    with psycopg.connect(database_url, autocommit=True) as conn:
        blobs = open_blobs(settings)
        writer = blobs.create()
        blob = writer.commit().name
        _insert_file(conn, "file-old", blob, 0, "-1 s")
        with pytest.raises(DatabaseUnavailable):
            Retention(settings, blobs).prune(conn)
        assert ids(conn, "file") == []
        assert not blobs.path(blob).exists()


def test_what_is_kept_for_ever_is_not_counted(settings: Settings, database_url: str) -> None:
    forever = settings.model_copy(
        update={"keep_jobs_days": 0.0, "keep_calls_hours": 0.0, "keep_events_days": 0.0}
    )
    with psycopg.connect(database_url, autocommit=True) as conn:
        _end_long_ago(conn, [submit(database_url, [text(0)], view="batch")])
        _insert_event(conn, "evt_sent", days=1000)
        retention = Retention(forever, open_blobs(settings))
        assert retention.preview(conn) == Pruning()
        assert retention.prune_all(conn) == Pruning()
        assert ids(conn, "webhook_event") == ["evt_sent"]


def ids(conn: psycopg.Connection, table: str) -> list[str]:
    return sorted(str(row[0]) for row in conn.execute(f"SELECT id FROM {table}").fetchall())


def _end_long_ago(conn: psycopg.Connection, jobs: list[int]) -> None:
    conn.execute(
        """UPDATE job SET state = 'completed', ready = false, ended_at = now() - '31 days'::interval
           WHERE id = ANY (%s)""",
        (jobs,),
    )


def _insert_file(conn: psycopg.Connection, file_id: str, blob: str, size: int, expires_in: str) -> None:
    conn.execute(
        """INSERT INTO file (id, project_id, purpose, filename, blob, size_bytes, expires_at)
           VALUES (%s, 1, 'batch', 'f', %s, %s, now() + %s::interval)""",
        (file_id, blob, size, expires_in),
    )


def _insert_event(conn: psycopg.Connection, event_id: str, *, days: int, pending: bool = False) -> None:
    conn.execute(
        """INSERT INTO webhook_event (id, project_id, type, payload, created_at)
           VALUES (%s, 1, 'job.completed', '', now() - make_interval(days => %s))""",
        (event_id, days),
    )
    conn.execute(
        """INSERT INTO delivery (project_id, event_id, url, receiver, state)
           VALUES (1, %s, 'https://x', 'x', %s)""",
        (event_id, "pending" if pending else "delivered"),
    )
