"""A real llama.cpp engine that is killed, or crashes, in the middle of a batch."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from backends.engine import Engine
from backends.errors import EngineDied
from backends.types import Done, Event, Started
from store import db, slots
from tasks.controller import Controller
from tasks.deaths import Death
from tasks.work import Work
from tests.fixtures.tiny_models import gguf_folder
from tests.tasks.slot import settings_for, submit
from tests.tasks.test_drain import conn, results_of, state_of
from tests.tasks.test_drain_order import wait_until
from tests.tasks.test_strikes import draining

__all__ = ["conn"]  # the fixture

pytestmark = pytest.mark.bindings

ITEMS = 3000
SPEC = """\
name: tiny
family: bert
runtime: llamacpp
files:
  - {path: config.json, source: "file:config.json"}
  - {path: tokenizer.json, source: "file:tokenizer.json"}
  - {path: model.gguf, source: "file:model.gguf"}
limits: {max_tokens: 64}
"""


@pytest.fixture
def llama_slot(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Controller]:
    """A slot that serves `tiny`, a random BERT on llama.cpp."""
    settings = settings_for(tmp_path, database_url=database_url, redis_url=redis_url, drain_seconds=60)
    (tmp_path / "specs" / "tiny.yaml").write_text(SPEC)
    gguf_folder("bert", tmp_path / "specs")  # pulled from there
    core = min(os.sched_getaffinity(0))
    with db.connect(database_url, name="test") as connection:
        lease = slots.register(
            connection, boot_id="test", host="test", pid=1, families=["bert"], cores=[core], available=[core],
            lease_seconds=60,
        )  # fmt: skip
    controller = Controller(settings, lease, ["bert"])
    yield controller
    controller.close()


class Assassin:
    """Sends a signal to engines in the middle of a batch, as they say that parts enter a native call, until
    one has ended with parts in flight (a call of this model may be over before the signal comes)."""

    def __init__(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = number
        self.in_flight: list[int] = []  # at each death
        self._killed: set[int] = set()
        self._done = 0
        note, died = Engine._note, Work.died

        def noting(engine: Engine, event: Event) -> None:
            note(engine, event)
            self.see(engine, event)

        def dying(work: Work, error: EngineDied, *, hung: bool) -> Death:
            self.in_flight.append(len(error.in_flight))
            return died(work, error, hung=hung)

        monkeypatch.setattr(Engine, "_note", noting)
        monkeypatch.setattr(Work, "died", dying)

    @property
    def content(self) -> bool:
        return any(self.in_flight)

    def see(self, engine: Engine, event: Event) -> None:
        self._done += isinstance(event, Done)
        if not isinstance(event, Started) or self.content or engine.pid in self._killed:
            return
        if self._done > 100:
            self._killed.add(engine.pid)
            os.kill(engine.pid, self.number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_every_item_of_a_batch_completes_though_its_engine_ends_in_the_middle(
    llama_slot: Controller,
    database_url: str,
    conn: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    assassin = Assassin(number, monkeypatch)
    draw = random.Random(3)  # different rows of ids: an engine remembers those that it has computed
    rows = [[draw.randrange(1, 20) for _ in range(60)] for _ in range(ITEMS)]
    bodies = [{"model": "tiny", "input": row} for row in rows]
    job_id = submit(database_url, bodies, model="tiny", family="bert")
    with draining(llama_slot):
        wait_until(lambda: state_of(conn, job_id) == "finalizing", 120)
    assert assassin.content
    results = results_of(conn, job_id)
    assert sorted(results) == list(range(ITEMS))
    assert {status for status, _ in results.values()} == {200}
    [(struck, most)] = conn.execute("SELECT count(*), coalesce(max(count), 0) FROM strike").fetchall()
    if number == signal.SIGKILL:
        assert struck == 0
    else:
        assert struck >= 1
        assert most == 1
