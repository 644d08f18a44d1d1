"""What is heard in a window becomes segments: cut at sentences and pauses, in order, nothing lost."""

import random

import numpy as np
import pytest

from backends.types import Word
from backends.whisper.segments import segments_of
from backends.whisper.window import RATE, Heard, Span, Window

TEXT = " Mr. Hale went home. Was he late? No."


def test_words_are_cut_into_segments_at_sentence_ends():
    segments = segments_of(window(10), heard(TEXT, spoken(TEXT, start=20_000, each=400)))
    assert [segment.text for segment in segments] == [" Mr. Hale went home.", " Was he late?", " No."]
    assert [(segment.start_ms, segment.end_ms) for segment in segments] == [
        (20_000, 21_600),
        (21_600, 22_800),
        (22_800, 23_200),
    ]
    assert [len(segment.words) for segment in segments] == [4, 3, 1]
    assert {segment.seek_ms for segment in segments} == {20_000}


def test_words_are_cut_into_segments_where_a_long_pause_lies_between():
    words = [Word(20_000, 20_400, " one"), Word(21_100, 21_500, " two"), Word(21_700, 22_000, " three")]
    segments = segments_of(window(10), heard(" one two three", words))
    assert [segment.text for segment in segments] == [" one", " two three"]


def test_without_words_a_sentence_ends_at_the_pause_that_is_near():
    speech = (Span(320_000, 368_000), Span(384_000, 432_000))  # 20 to 23 and 24 to 27 seconds
    segments = segments_of(window(10, speech), heard(" It is late now. It is too early yet."))
    assert [(segment.start_ms, segment.end_ms) for segment in segments] == [
        (20_000, 23_000),
        (24_000, 27_000),
    ]


def test_without_words_and_pauses_a_sentence_has_its_share_of_the_speech():
    segments = segments_of(window(10, (Span(320_000, 400_000),)), heard(" abcd efg. hi."))
    assert [segment.text for segment in segments] == [" abcd efg.", " hi."]
    assert segments[0].end_ms == segments[1].start_ms == 20_000 + 5_000 * 10 // 14


def test_each_segment_has_the_tokens_that_spell_it():
    ends = [4, 9, 14, 20, 24, 27, 33, 36, 37]
    logprobs = [-0.1 * number for number in range(9)]
    said = heard(TEXT, tokens=list(range(9)), token_ends=ends, token_logprobs=logprobs)
    segments = segments_of(window(10), said)
    assert [segment.tokens for segment in segments] == [[0, 1, 2, 3], [4, 5, 6], [7, 8]]
    assert [segment.token_logprobs for segment in segments] == [logprobs[:4], logprobs[4:7], logprobs[7:]]


def test_scripts_without_spaces_are_cut_behind_their_own_full_stops():
    segments = segments_of(window(10), heard("今日は晴れ。明日は雨？はい"))
    assert [segment.text for segment in segments] == ["今日は晴れ。", "明日は雨？", "はい"]


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_a_window_without_text_has_no_segments(text: str):
    assert segments_of(window(10), heard(text)) == []


def test_words_that_do_not_spell_the_text_are_not_believed():
    (segment,) = segments_of(window(10), heard(" one two", [Word(20_000, 20_100, " one")]))
    assert segment.text == " one two"
    assert segment.words == []


def test_whatever_the_times_segments_increase_and_lie_inside_the_window_and_join_to_the_text():
    dice = random.Random(4)
    for _ in range(300):
        words = anything_said(dice)
        text = "".join(word.text for word in words)
        place = window(dice.choice([0.5, 3, 28]), speech_of(dice))
        said = heard(text, words if dice.random() < 0.5 else None, tokens=list(range(dice.randrange(40))))
        segments = segments_of(place, said)
        assert "".join(segment.text for segment in segments) == text
        assert [token for segment in segments for token in segment.tokens] == said.tokens
        edges = [edge for segment in segments for edge in (segment.start_ms, segment.end_ms)]
        assert edges == sorted(edges)
        assert edges[0] >= 20_000
        assert edges[-1] <= place.end * 1000 // RATE
        assert all(segment.start_ms < segment.end_ms for segment in segments)
        for segment in segments:
            inner = [edge for word in segment.words for edge in (word.start_ms, word.end_ms)]
            assert inner == sorted(inner)
            assert not inner or (segment.start_ms <= inner[0] and inner[-1] <= segment.end_ms)


def window(seconds: float, speech: tuple[Span, ...] | None = None) -> Window:
    """A window that begins 20 seconds into its recording."""
    samples = np.zeros(int(seconds * RATE), dtype=np.float32)
    start = 20 * RATE
    return Window(start=start, samples=samples, speech=speech or (Span(start, start + len(samples)),))


def heard(
    text: str,
    words: list[Word] | None = None,
    *,
    tokens: list[int] | None = None,
    token_ends: list[int] | None = None,
    token_logprobs: list[float] | None = None,
) -> Heard:
    return Heard(
        text=text,
        tokens=tokens or [],
        token_ends=token_ends or [],
        token_logprobs=token_logprobs,
        words=words,
        avg_logprob=-0.2,
        no_speech_prob=0.01,
        temperature=0.0,
        compression_ratio=1.2,
    )


def spoken(text: str, *, start: int, each: int) -> list[Word]:
    """The words of `text`, one after the other, `each` milliseconds long."""
    texts = [f" {word}" for word in text.split()]
    return [Word(start + n * each, start + (n + 1) * each, word) for n, word in enumerate(texts)]


def anything_said(dice: random.Random) -> list[Word]:
    """One to thirty words, some of which end a sentence, with times out of all order."""
    texts = [" a", " b.", " see", " d?", " Dr.", "。", " e!”"]
    times = (
        (dice.randrange(15_000, 60_000), dice.randrange(15_000, 60_000)) for _ in range(dice.randint(1, 30))
    )
    return [Word(start, end, dice.choice(texts)) for start, end in times]


def speech_of(dice: random.Random) -> tuple[Span, ...]:
    """Spans in order, that may reach beyond the window."""
    edges = sorted(20 * RATE + dice.randrange(30 * RATE) for _ in range(2 * dice.randint(1, 4)))
    return tuple(Span(start, end + 1) for start, end in zip(edges[::2], edges[1::2], strict=True))
