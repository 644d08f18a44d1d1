"""Parts in flight that nobody wants: how long an engine may hold on to them."""

import time

import pytest

from tasks.let_go import LET_GO_SECONDS, LetGo


def test_an_engine_has_a_second_from_the_first_cancel_and_is_left_alone_once_it_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    let_go = LetGo()
    assert let_go.due_at is None
    let_go.add({1, 2})
    now += LET_GO_SECONDS / 2
    let_go.add({1, 3})  # cancelled again: no second second
    assert not let_go.due
    now += LET_GO_SECONDS / 2
    assert let_go.due
    let_go.keep({3})
    assert not let_go.due
    let_go.keep(())
    assert let_go.due_at is None


def test_time_in_which_the_engine_could_not_be_heard_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    let_go = LetGo()
    let_go.add({1})
    now += 60
    let_go.restart()
    assert not let_go.due
