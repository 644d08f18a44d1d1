"""A text while it is written: its end, and its loops."""

import numpy as np
import pytest

from backends.whisper.written import Text, loops

END = 500


def written(tokens: list[int], *, most: int = 100) -> Text:
    text = Text(most)
    for token in tokens:
        if not text.ended:
            text.seen.append(np.zeros((2, 7), np.float32))
        text.write(token, -0.5, END)
    return text


@pytest.mark.parametrize(("period", "times"), [(1, 30), (2, 15), (9, 4), (14, 3)])
def test_a_text_that_says_the_same_again_and_again_loops(period: int, times: int):
    text = list(range(100, 120)) + list(range(period)) * times
    assert loops(text)
    assert not loops([*text[:-1], 99])


@pytest.mark.parametrize(("period", "times"), [(1, 20), (2, 10), (14, 2), (40, 3)])
def test_what_is_said_twice_or_briefly_does_not(period: int, times: int):
    assert not loops(list(range(100, 120)) + list(range(period)) * times)


def test_nothing_is_written_behind_the_end():
    found = written([1, 2, END, 3, END]).decoded(0.1)
    assert found.tokens == [1, 2]
    assert found.token_logprobs == [-0.5, -0.5]
    assert found.logprob == -1.5
    assert found.seen is not None
    assert found.seen.shape == (2, 3, 7)


def test_a_text_that_loops_is_ended_and_says_so():
    text = written(list(range(10)) + [7, 8] * 40)
    assert text.ended
    found = text.decoded(0.0)
    assert found.looping
    assert len(found.tokens) < 50
    assert not written([1, 2, END]).decoded(0.0).looping


def test_a_text_at_its_cap_has_something_seen_for_its_end():
    found = written([1, 2, 3], most=2).decoded(0.0)
    assert found.tokens == [1, 2]
    assert found.seen is not None
    assert found.seen.shape == (2, 3, 7)
