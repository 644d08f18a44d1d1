"""Words get the times of their tokens, less the pauses."""

import numpy as np

from backends.whisper.timed_words import timed_words
from backends.whisper.window import RATE, Heard, Span, Window

START = 20 * RATE


def test_a_word_begins_with_its_first_token_and_ends_where_the_next_begins():
    words = timed_words(window(), heard(" unlikely thing", [3, 9, 15]), [0, 8_000, 16_000, 30_000])
    assert [(word.text, word.start_ms, word.end_ms) for word in words] == [
        (" unlikely", 20_000, 21_000),
        (" thing", 21_000, 22_000),
    ]


def test_a_word_ends_where_a_pause_begins():
    speech = (Span(START, START + 12_000), Span(START + 18_000, START + 32_000))
    words = timed_words(window(speech), heard(" unlikely thing", [3, 9, 15]), [0, 8_000, 16_000, 30_000])
    assert [(word.start_ms, word.end_ms) for word in words] == [(20_000, 20_750), (21_125, 22_000)]


def test_token_times_outside_the_window_or_out_of_order_give_words_in_order_inside_it():
    said = heard(" a b c d", [2, 4, 6, 8])
    words = timed_words(window(), said, [500, 90_000, -4_000, 3_000])
    edges = [edge for word in words for edge in (word.start_ms, word.end_ms)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (20_000, 22_000)
    assert "".join(word.text for word in words) == said.text


def test_a_text_of_spaces_has_no_words():
    assert timed_words(window(), heard("  ", [2]), [0]) == []


def window(speech: tuple[Span, ...] = ()) -> Window:
    """Two seconds that are equally loud."""
    samples = np.random.default_rng(1).normal(0, 0.1, 2 * RATE).astype(np.float32)
    return Window(start=START, samples=samples, speech=speech or (Span(START, START + 2 * RATE),))


def heard(text: str, token_ends: list[int]) -> Heard:
    return Heard(
        text=text,
        tokens=list(range(len(token_ends))),
        token_ends=token_ends,
        avg_logprob=-0.1,
        no_speech_prob=0.0,
        temperature=0.0,
        compression_ratio=1.0,
    )
