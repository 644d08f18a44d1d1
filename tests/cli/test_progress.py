"""Progress: figures that can be read, lines where there is no terminal, results apart from it."""

import io

import pytest
from rich.console import Console

from cli import progress
from cli.progress import Meter, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets: `clock[0]`, in seconds."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12_000, "3 h 20 min")],
)
def test_durations_are_rounded_to_what_matters(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_come_now_and_then_with_rate_and_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Meter() as meter:
        meter.stage("embedding", "texts")
        for second in range(31):
            clock[0] = 100.0 + second
            meter.update(50 * second, 10_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "embedding …"
    assert lines[1:] == [
        "embedding: 500 of 10,000 texts, 50/s, 3 min left",
        "embedding: 1,000 of 10,000 texts, 50/s, 3 min left",
        "embedding: 1,500 of 10,000 texts, 50/s, 3 min left",
    ]


def test_no_time_left_is_told_by_the_first_hundredth(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Meter() as meter:
        meter.stage("transcribing", "s of audio", rate_seconds=120.0)
        for done in (0, 13, 13, 600):
            meter.update(done, 4_800)
            clock[0] += 11
    assert capsys.readouterr().err.splitlines()[1:] == [
        "transcribing: 13 of 4,800 s of audio, 1.2/s",
        "transcribing: 13 of 4,800 s of audio, 0.6/s",
        "transcribing: 600 of 4,800 s of audio, 18/s, 4 min left",
    ]


def test_a_note_is_shown_while_nothing_is_counted(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Meter() as meter:
        meter.stage("embedding", "texts")
        clock[0] += 11
        meter.update(0, 100, note="waiting for a slot")
    assert "embedding: waiting for a slot" in capsys.readouterr().err


def test_bytes_are_shown_as_megabytes_and_many_updates_are_held_as_few(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Meter() as meter:
        meter.stage("uploading", "MB")
        for step in range(12_000):
            clock[0] += 0.001
            meter.update(step * 1000, 90_000_000)
        assert len(meter._samples) < 150
    assert "uploading: 10.0 MB of 90.0 MB, 1.0 MB/s, 80 s left" in capsys.readouterr().err


def test_on_a_terminal_there_is_a_bar_and_results_go_to_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = io.StringIO()
    meter = Meter()
    monkeypatch.setattr(meter, "_console", Console(file=screen, force_terminal=True, width=100))
    with meter:
        meter.stage("embedding", "texts")
        meter.update(40, 100)
        meter.tell("a result")
        meter.stage("fetching", "texts")
    assert "embedding" in screen.getvalue()
    assert "40 of 100 texts" in screen.getvalue()
    assert capsys.readouterr().out == "a result\n"
