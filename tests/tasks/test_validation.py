"""Input files: which lines are one model's, and how large ones are cut."""

import json

import psycopg

from backends.types import decode_error
from configs.settings import Settings
from configs.spec_files import load_catalogue
from store.blobs import open_blobs
from tasks.drain import drain
from tasks.signals import Signals, connect
from tasks.validation import Validator
from tests.tasks.slot import open_slot
from tests.tasks.test_dispatcher import HandIn, errors_of, hand_in, line, settings, validator
from tests.tasks.test_drain import conn, results_of, state_of

__all__ = ["conn", "hand_in", "settings", "validator"]  # the fixtures


def test_slots_are_woken_for_what_is_queued_and_not_for_what_is_refused(
    settings: Settings, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    """Without it a small job waited for the next tick, longer than for its results."""
    states: list[str] = []
    signals, blobs = Signals(connect(settings.redis_url or "")), open_blobs(settings)
    good, bad = hand_in(line(0)), hand_in({"custom_id": "no body"})
    validator = Validator(
        settings, signals, blobs, load_catalogue(settings), queued=lambda: states.append(state_of(conn, good))
    )
    while validator.step(conn):
        pass
    assert (states, state_of(conn, bad)) == (["queued"], "failed")


def test_a_line_without_a_model_is_cut_as_any_other_and_goes_on_without_one(
    validator: Validator, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    job_id = hand_in({"body": {"input": [f"t{n}" for n in range(6)]}}, view="job")
    conn.execute("UPDATE job SET model = 'echo' WHERE id = %s", (job_id,))
    validator.step(conn)
    assert conn.execute("SELECT items, parts FROM job WHERE id = %s", (job_id,)).fetchone() == (1, 2)
    [(body,)] = conn.execute("SELECT body FROM item_part WHERE job_id = %s", (job_id,)).fetchall()
    assert json.loads(body) == [4, {"input": ["t4", "t5"]}]


def test_a_line_with_more_inputs_than_its_model_takes_fails_alone_and_is_not_cut(
    validator: Validator, settings: Settings, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    spec = "name: few\nfamily: echo\naliases: [little]\nlimits: {max_inputs: 6}\n"
    (settings.specs_folder / "few.yaml").write_text(spec)
    inputs = [["t"] * count for count in (6, 7, 2)]
    job_id = hand_in(*(line(n, model="few", input=given) for n, given in enumerate(inputs)))
    validator.step(conn)
    assert conn.execute("SELECT parts FROM job WHERE id = %s", (job_id,)).fetchone() == (4,)
    controller = open_slot(settings)
    drain(controller)
    controller.close()
    results = results_of(conn, job_id)
    assert [status for _, (status, _) in sorted(results.items())] == [200, 400, 200, 200]
    assert decode_error(results[1][1]).code == "too_many_inputs"


def test_lines_may_use_all_names_of_one_model(
    validator: Validator, settings: Settings, hand_in: HandIn, conn: psycopg.Connection
) -> None:
    (settings.specs_folder / "few.yaml").write_text("name: few\nfamily: echo\naliases: [little]\n")
    job_id = hand_in(line(0, model="little"), line(1, model="few"), line(2, model="little"))
    mixed = hand_in(line(0, model="little"), line(1, model="echo"))
    while validator.step(conn):
        pass
    assert conn.execute("SELECT model, items FROM job WHERE id = %s", (job_id,)).fetchone() == ("few", 3)
    assert [(error["code"], error["line"]) for error in errors_of(conn, mixed)] == [("model_mismatch", 2)]
