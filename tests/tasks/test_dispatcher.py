"""The dispatcher: one leads, input files become items, finished jobs get their files, wake-ups repeat."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from configs.settings import Settings
from configs.spec_files import load_catalogue
from store import files, jobs
from store.blobs import open_blobs
from store.ids import new_suffix
from tasks.app import make_app
from tasks.dispatcher import Dispatcher
from tasks.drain import drain
from tasks.finalization import Finalizer
from tasks.retention import Retention
from tasks.signals import PREFIX, Signals, connect
from tasks.validation import Validator
from tasks.wakeups import WakeUps
from tests.tasks.slot import open_slot, settings_for, submit, text
from tests.tasks.test_drain import conn, state_of

__all__ = ["conn"]  # the fixture

HandIn = Callable[..., int]


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(tmp_path, database_url=database_url, redis_url=redis_url, part_inputs=4)


@pytest.fixture
def hand_in(settings: Settings) -> HandIn:
    """Stores a file with these lines and submits it as a batch (or another view); returns the job's id."""

    async def put(data: bytes, view: str, endpoint: str) -> int:
        blobs = open_blobs(settings)
        writer = blobs.create()
        writer.write(data)
        blob = writer.commit()
        async with await psycopg.AsyncConnection.connect(
            settings.database_url or "", autocommit=True
        ) as conn:
            file = await files.insert(
                conn,
                project_id=1,
                purpose="batch",
                filename="in.jsonl",
                blob=blob.name,
                size_bytes=blob.size_bytes,
                sha256=blob.sha256,
                expires_seconds=None,
            )
            new = jobs.NewJob(
                suffix=new_suffix(),
                view=view,  # type: ignore[arg-type]
                project_id=1,
                key_id=1,
                endpoint=endpoint,
                family="",
                model="",
                lane="bulk",
                input_file_id=file.id,
            )
            return await jobs.insert_validating(conn, new)

    def run(*lines: dict[str, object] | bytes, view: str = "batch", endpoint: str = "/v1/embeddings") -> int:
        data = b"".join(raw if isinstance(raw, bytes) else json.dumps(raw).encode() + b"\n" for raw in lines)
        return asyncio.run(put(data, view, endpoint))

    return run


@pytest.fixture
def validator(settings: Settings) -> Validator:
    signals = Signals(connect(settings.redis_url or ""))
    return Validator(settings, signals, open_blobs(settings), load_catalogue(settings))


@pytest.fixture
def finalizer(settings: Settings) -> Finalizer:
    return Finalizer(Signals(connect(settings.redis_url or "")))


def line(n: int, **body: object) -> dict[str, object]:
    whole = {"model": "echo", "input": f"text {n}", **body}
    return {"custom_id": f"c{n}", "method": "POST", "url": "/v1/embeddings", "body": whole}


def errors_of(conn: psycopg.Connection, job_id: int) -> list[dict[str, object]]:
    row = conn.execute("SELECT errors FROM job WHERE id = %s", (job_id,)).fetchone()
    assert row is not None
    found: list[dict[str, object]] = row[0]["data"]
    return found


# --- validation


def test_a_file_becomes_items_and_its_job_is_queued(
    validator: Validator, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    job_id = hand_in(line(0), line(1))
    assert validator.step(conn)
    assert not validator.step(conn)
    row = conn.execute("SELECT state, ready, items, parts, model, family FROM job WHERE id = %s", (job_id,))
    assert row.fetchone() == ("queued", True, 2, 2, "echo", "echo")


def test_a_line_with_many_inputs_becomes_an_item_of_several_parts(
    validator: Validator, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    job_id = hand_in(line(0), line(1, input=[f"t{n}" for n in range(10)]), line(2))
    validator.step(conn)
    assert conn.execute("SELECT items, parts FROM job WHERE id = %s", (job_id,)).fetchone() == (3, 5)
    bodies = conn.execute("SELECT body FROM item_part WHERE job_id = %s ORDER BY n", (job_id,)).fetchall()
    pieces = [json.loads(body) for (body,) in bodies]
    assert [(first, body["input"]) for first, body in pieces] == [
        (4, ["t4", "t5", "t6", "t7"]),
        (8, ["t8", "t9"]),
    ]


@pytest.mark.parametrize(
    ("changed", "code"), [({"model": "nobody"}, "model_not_found"), ({"model": 5}, "invalid_type")]
)
def test_a_file_for_a_model_that_is_not_there_is_rejected_and_nothing_of_it_stays(
    validator: Validator, hand_in: HandIn, conn: psycopg.Connection, changed: dict[str, object], code: str
) -> None:
    job_id = hand_in(line(0, **changed))
    validator.step(conn)
    assert state_of(conn, job_id) == "failed"
    assert [(error["code"], error["line"]) for error in errors_of(conn, job_id)] == [(code, 1)]
    assert conn.execute("SELECT count(*) FROM item").fetchone() == (0,)


def test_an_endpoint_that_the_family_does_not_serve_is_rejected(
    validator: Validator, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    job_id = hand_in({**line(0), "url": "/v1/chat/completions"}, endpoint="/v1/chat/completions")
    validator.step(conn)
    assert errors_of(conn, job_id)[0]["code"] == "endpoint_not_supported"


def test_a_file_whose_bytes_are_gone_is_rejected(
    validator: Validator, settings: Settings, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    job_id = hand_in(line(0))
    [(blob,)] = conn.execute("SELECT blob FROM file").fetchall()
    open_blobs(settings).delete(blob)
    validator.step(conn)
    assert errors_of(conn, job_id)[0]["code"] == "file_not_found"


def test_the_bounds_of_a_batch_do_not_bind_a_job(
    validator: Validator,
    settings: Settings,
    hand_in: HandIn,
    conn: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = settings.model_copy(update={"max_batch_lines": 1})
    monkeypatch.setattr(validator, "_settings", small)
    batch, job = hand_in(line(0), line(1)), hand_in(line(0), line(1), view="job")
    while validator.step(conn):
        pass
    assert (state_of(conn, batch), state_of(conn, job)) == ("failed", "queued")
    assert errors_of(conn, batch)[0]["code"] == "too_many_lines"


# --- settling


def test_a_finished_job_completes_with_files_of_the_size_that_is_read(
    validator: Validator, finalizer: Finalizer, settings: Settings, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    job_id = hand_in(line(0), line(1, input=""), line(2))
    validator.step(conn)
    controller = open_slot(settings)
    drain(controller)
    controller.close()
    assert finalizer.step(conn)
    assert state_of(conn, job_id) == "completed"
    rows = conn.execute(
        "SELECT filename, size_bytes FROM file WHERE job_id = %s ORDER BY filename", (job_id,)
    )
    names, sizes = zip(*rows.fetchall(), strict=True)
    assert [name.rsplit("_", 1)[1] for name in names] == ["error.jsonl", "output.jsonl"]
    assert all(size > 100 for size in sizes)


def test_a_cancelled_job_ends_once_nobody_computes_it(
    finalizer: Finalizer, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(0)])
    conn.execute("UPDATE job SET state = 'cancelling' WHERE id = %s", (job_id,))
    assert finalizer.step(conn)
    assert state_of(conn, job_id) == "cancelled"


def test_a_job_that_cannot_be_rendered_does_not_hold_up_the_others(
    finalizer: Finalizer, settings: Settings, database_url: str, conn: psycopg.Connection
) -> None:
    jobs_ = [submit(database_url, [text(n)]) for n in range(2)]
    controller = open_slot(settings)
    drain(controller)
    controller.close()
    conn.execute("UPDATE result SET data = 'nonsense' WHERE job_id = %s", (jobs_[0],))
    for _ in range(3):
        finalizer.step(conn)
    assert [state_of(conn, job_id) for job_id in jobs_] == ["finalizing", "completed"]


def cannot_render(*_: object, **__: object) -> Iterator[bytes]:
    raise ValueError("nonsense")


def test_jobs_that_end_early_and_cannot_be_rendered_are_let_be_for_a_while(
    finalizer: Finalizer, database_url: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled, expired = (submit(database_url, [text(n)]) for n in range(2))
    conn.execute("UPDATE job SET state = 'cancelling', ready = false WHERE id = %s", (cancelled,))
    conn.execute("UPDATE job SET deadline = now() WHERE id = %s", (expired,))
    with monkeypatch.context() as patch:
        patch.setattr("tasks.finalization.render_lines", cannot_render)
        assert not finalizer.step(conn)  # nothing has ended: the loop takes its time
    assert not finalizer.step(conn)
    assert (state_of(conn, cancelled), state_of(conn, expired)) == ("cancelling", "queued")
    monkeypatch.setattr("tasks.finalization.time.monotonic", lambda: time.time() + 1e9)
    assert finalizer.step(conn)
    assert (state_of(conn, cancelled), state_of(conn, expired)) == ("cancelled", "expired")
    assert not finalizer.step(conn)


def test_many_jobs_that_cannot_be_rendered_delay_the_next_by_no_tick(
    finalizer: Finalizer, database_url: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs_ = [submit(database_url, [text(n)]) for n in range(5)]
    conn.execute("UPDATE job SET state = 'finalizing', ready = false")

    def render(_: object, job: jobs.JobRow, **__: object) -> Iterator[bytes]:
        return iter(()) if job.id == jobs_[-1] else cannot_render()

    monkeypatch.setattr("tasks.finalization.render_lines", render)
    assert finalizer.step(conn)
    assert [state_of(conn, job_id) for job_id in jobs_] == ["finalizing"] * 4 + ["completed"]


def test_a_file_that_cannot_be_read_fails_its_job_and_no_other(
    validator: Validator, hand_in: HandIn, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, good = hand_in(line(0)), hand_in(line(1))
    with monkeypatch.context() as patch:
        patch.setattr("tasks.validation.ingest", lambda *_, **__: 1 / 0)
        validator.step(conn)
    validator.step(conn)
    assert (state_of(conn, broken), state_of(conn, good)) == ("failed", "queued")


# --- wake-ups, leadership, retention


def test_waiting_work_that_nobody_hears_of_wakes_as_many_slots_as_there_are(
    settings: Settings, database_url: str, conn: psycopg.Connection
) -> None:
    redis = connect(settings.redis_url or "")
    wake_ups = WakeUps(make_app(settings), Signals(redis))
    controllers = [open_slot(settings, core) for core in (0, 1)]
    wake_ups.repeat(conn)
    assert redis.llen(PREFIX + "echo") == 0  # nothing waits
    submit(database_url, [text(0)])
    for _ in range(3):
        wake_ups.repeat(conn)
    assert redis.llen(PREFIX + "echo") == 2  # never more than there are slots
    for controller in controllers:
        controller.close()


def test_no_slot_is_woken_for_work_that_none_could_take(
    settings: Settings, database_url: str, conn: psycopg.Connection
) -> None:
    redis = connect(settings.redis_url or "")
    wake_ups = WakeUps(make_app(settings), Signals(redis))
    controller = open_slot(settings)
    job_id = submit(database_url, [text(0)])
    conn.execute("UPDATE job SET cores = 4")
    wake_ups.repeat(conn)
    assert redis.llen(PREFIX + "echo") == 0
    with dispatching(settings):
        wait_until(lambda: note_of(conn, job_id) is not None)
    assert note_of(conn, job_id) == "needs 4 cores; the widest slot that serves family echo has 1"
    controller.close()


def note_of(conn: psycopg.Connection, job_id: int) -> str | None:
    row = conn.execute("SELECT note FROM job WHERE id = %s", (job_id,)).fetchone()
    assert row is not None
    note: str | None = row[0]
    return note


@contextmanager
def dispatching(settings: Settings) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(settings)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        thread.join(timeout=10)
        assert not thread.is_alive()


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def test_another_dispatcher_takes_over_when_the_leader_is_gone(
    settings: Settings, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    with dispatching(settings) as first:
        wait_until(lambda: first.leads)
        with dispatching(settings) as second:
            time.sleep(0.6)
            assert not second.leads
            first.stop()
            wait_until(lambda: second.leads)
            job_id = hand_in(line(0))
            wait_until(lambda: state_of(conn, job_id) == "queued")


def test_a_leader_that_loses_its_connection_leads_again(settings: Settings, conn: psycopg.Connection) -> None:
    with dispatching(settings) as dispatcher:
        wait_until(lambda: dispatcher.leads)
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'batchyard dispatcher%'"
        )
        wait_until(lambda: not dispatcher.leads)
        wait_until(lambda: dispatcher.leads)


def test_expired_files_go_with_their_bytes(
    settings: Settings, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    hand_in(line(0))
    [(blob,)] = conn.execute("UPDATE file SET expires_at = now() - interval '1 s' RETURNING blob").fetchall()
    conn.execute("UPDATE job SET state = 'failed', ended_at = now()")
    retention = Retention(settings, open_blobs(settings))
    assert retention.prune(conn)
    assert not retention.prune(conn)
    assert conn.execute("SELECT count(*) FROM file").fetchone() == (0,)
    assert not open_blobs(settings).path(blob).exists()


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, ["batch 29 d", "call 23 h", "job 29 d", "open"]),
        ({"keep_jobs_days": 0}, ["batch 29 d", "batch 31 d", "call 23 h", "job 29 d", "job 31 d", "open"]),
        ({"keep_calls_hours": 0}, ["batch 29 d", "call 23 h", "call 25 h", "job 29 d", "open"]),
        ({"keep_jobs_days": 0.5, "keep_calls_hours": 0.5}, ["open"]),
    ],
    ids=repr,
)
def test_ended_jobs_are_kept_as_long_as_the_settings_say(
    settings: Settings,
    database_url: str,
    conn: psycopg.Connection,
    changes: dict[str, float],
    left: list[str],
) -> None:
    for view, hours in [("batch", 29 * 24), ("batch", 31 * 24), ("job", 29 * 24), ("job", 31 * 24),
                        ("call", 23), ("call", 25)]:  # fmt: skip
        name = f"{view} {hours} h" if hours < 48 else f"{view} {hours // 24} d"
        conn.execute(
            """UPDATE job SET suffix = %s, state = 'completed', ready = false,
                              ended_at = now() - make_interval(hours => %s) WHERE id = %s""",
            (name, hours, submit(database_url, [text(0)], view=view)),
        )
    conn.execute("UPDATE job SET suffix = 'open' WHERE id = %s", (submit(database_url, [text(0)]),))
    retention = Retention(settings.model_copy(update=changes), open_blobs(settings))
    while retention.prune(conn):
        pass
    assert [name for (name,) in conn.execute("SELECT suffix FROM job ORDER BY suffix")] == left
