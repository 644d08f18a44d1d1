"""Logs: one form for ours and the libraries', and no secrets in them."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from configs.logging import configure, hide_secrets
from configs.settings import Settings


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was: other tests of this process have their own idea of it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_our_events_are_json_with_their_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="json"))
    structlog.get_logger("tasks.drain").info("chunk.claimed", job=7)
    (line,) = lines(capsys)
    assert line["event"] == "chunk.claimed"
    assert line["job"] == 7
    assert line["level"] == "info"
    assert line["logger"] == "tasks.drain"


def test_records_of_libraries_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="json"))
    logging.getLogger("some.library").warning("careful with %s", "that")
    (line,) = lines(capsys)
    assert line["event"] == "careful with that"
    assert line["level"] == "warning"


def test_what_is_below_the_level_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="json", log_level="warning"))
    structlog.get_logger("ours").info("nothing.much")
    logging.getLogger("theirs").info("nothing much")
    assert lines(capsys) == []


def test_an_exception_has_its_traceback_and_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    for log_format in ("json", "console"):
        configure(Settings.model_validate({"log_format": log_format}))
        text_of_a_customer = "a private " + "sentence"
        try:
            raise ValueError(len(text_of_a_customer))
        except ValueError:
            structlog.get_logger("ours").exception("item.failed")
        shown = capsys.readouterr().err
        assert "ValueError: 18" in shown
        assert "a private sentence" not in shown


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_reaches_the_log(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure(Settings.model_validate({"log_format": log_format}))
    log = structlog.get_logger("ours")
    log.info("service.started", api_key="hunter2-key", url="postgresql://me:hunter2@db/x")
    log.info("cannot reach redis://:hunter2@cache:6379/0")
    logging.getLogger("theirs").warning("connecting to %s", "amqp://me:hunter2@mq//")
    shown = capsys.readouterr().err
    assert "hunter2" not in shown
    assert "postgresql://me:***@db/x" in shown


def test_what_is_no_secret_stays() -> None:
    event = {"event": "mail to me@example.org at http://host:80/x@y", "n": 3}
    assert hide_secrets(None, "info", dict(event)) == event
