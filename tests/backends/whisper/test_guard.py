"""What is believed of what was heard, and what is heard again, how."""

from typing import Any

import numpy as np
import pytest

from backends.whisper.guard import Full, Ok, Silent, Split, Verdict, Warmer, compression_ratio, judge
from backends.whisper.window import RATE, Heard, Span, Window

TEXT = " He was not at all inclined to go back to the town before the evening."
LOOP = " See replied see replied" * 12


def window(seconds: float, spoken: float | None = None) -> Window:
    count = int(seconds * RATE)
    speech = Span(0, count if spoken is None else int(spoken * RATE))
    return Window(start=0, samples=np.zeros(count, np.float32), speech=(speech,))


def heard(text: str = TEXT, *, tokens: int = 20, **other: Any) -> Heard:
    values: dict[str, Any] = {"avg_logprob": -0.3, "no_speech_prob": 0.01, "temperature": 0.0} | other
    return Heard(text=text, tokens=[11] * tokens, compression_ratio=compression_ratio(text), **values)


def verdict(one: Heard, *, seconds: float = 6, full: bool = False, depth: int = 0) -> Verdict:
    return judge(window(seconds), one, full=full, depth=depth)


def test_ordinary_text_is_believed():
    assert verdict(heard()) == Ok()


def test_what_is_not_quite_probable_is_heard_in_full_and_then_believed():
    assert verdict(heard(avg_logprob=-0.6)) == Full()
    assert verdict(heard(avg_logprob=-0.6), full=True) == Ok()


@pytest.mark.parametrize(
    "doubtful",
    [
        heard(LOOP, tokens=40),
        heard(tokens=60),
        heard(tokens=5),
        heard(avg_logprob=-1.2),
        heard(capped=True),
    ],
    ids=["loop", "too many tokens", "too few", "improbable", "capped"],
)
def test_what_loops_stops_early_or_is_improbable_is_heard_in_full_then_in_halves(doubtful: Heard):
    assert verdict(doubtful) == Full()
    assert verdict(doubtful, full=True) == Split()


def test_other_scripts_have_more_tokens():
    assert verdict(heard(tokens=60, language="en")) == Full()
    assert verdict(heard(tokens=60, language="hi")) == Ok()
    assert verdict(heard(tokens=120, language="hi")) == Full()


def test_what_cannot_be_halved_any_more_is_heard_warmer_and_warmer_and_then_taken():
    loop = heard(LOOP, tokens=40)
    assert verdict(loop, full=True, depth=2) == Warmer(0.4)
    assert verdict(loop, full=True, seconds=3) == Warmer(0.4)
    loop.temperature = 0.4
    assert verdict(loop, full=True, depth=2) == Warmer(0.8)
    loop.temperature = 0.8
    assert verdict(loop, full=True, depth=2) == Ok()


def test_improbable_text_where_no_speech_is_likely_is_silence():
    assert verdict(heard(no_speech_prob=0.7, avg_logprob=-1.1)) == Silent()
    assert verdict(heard(no_speech_prob=0.7)) == Ok()


def test_no_text_in_a_window_with_hardly_any_speech_is_silence():
    nothing = heard("", tokens=0)
    assert judge(window(6, spoken=0.4), nothing, full=False, depth=0) == Silent()
    assert judge(window(6), nothing, full=False, depth=0) == Full()


def test_every_way_through_ends():
    """The worst answer at every step: no window is heard for ever."""
    steps = 0
    pending = [(12.0, False, 0, 0.0)]
    while pending:
        seconds, full, depth, temperature = pending.pop()
        steps += 1
        match judge(window(seconds), heard(LOOP, tokens=90, temperature=temperature), full=full, depth=depth):
            case Full():
                pending.append((seconds, True, depth, temperature))
            case Split():
                pending += [(seconds / 2, False, depth + 1, 0.0)] * 2
            case Warmer(warmer):
                assert warmer > temperature
                pending.append((seconds, full, depth, warmer))
    assert steps < 30
