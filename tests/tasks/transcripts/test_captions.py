"""Captions keep the rules of lines and times, and all the text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.transcription import Captions
from backends.types import Segment
from tasks.transcripts.captions import captions_of
from tests.tasks.transcripts.samples import segment, words

LONG = (
    " Once the last recording of the night had been heard, which was long after midnight, the slot asked for"
    " another; there was none, and so it went to sleep until somebody would come."
)
RULES = Captions()


def test_a_short_segment_is_one_caption_with_its_times() -> None:
    [caption] = captions_of([segment(1500, 2500, " Good night.")], RULES)
    assert caption == (1500, 2500, ("Good night.",), None)


def test_a_long_one_is_cut_at_clauses_into_lines_of_like_length() -> None:
    found = captions_of([segment(0, 20_000, LONG)], RULES)
    assert [caption.lines for caption in found] == [
        ("Once the last recording of", "the night had been heard,"),
        ("which was long after midnight,", "the slot asked for another;"),
        ("there was none, and so it went",),
        ("to sleep until somebody would come.",),
    ]


def test_times_are_those_of_words_where_there_are_words() -> None:
    timed = words((0, 400, " Wait"), (400, 900, " here,"), (8000, 8400, " then"), (8400, 9000, " go."))
    found = captions_of([segment(0, 9500, " Wait here, then go.", words=timed)], RULES)
    assert [(caption.start_ms, caption.end_ms, caption.lines) for caption in found] == [
        (0, 900, ("Wait here,",)),
        (8000, 9000, ("then go.",)),
    ]


def test_words_that_do_not_spell_the_text_are_not_used() -> None:
    [caption] = captions_of([segment(0, 1000, " Good night.", words=words((0, 500, " Good")))], RULES)
    assert caption.lines == ("Good night.",)


def test_a_word_in_two_pieces_stays_together() -> None:
    timed = words((0, 300, " well"), (300, 400, "-"), (400, 700, "known"))
    [caption] = captions_of([segment(0, 700, " well-known", words=timed)], RULES)
    assert caption.lines == ("well-known",)


def test_a_language_without_spaces_is_cut_into_lines() -> None:
    found = captions_of([segment(0, 6000, "夜" * 100)], Captions(max_line_chars=20))
    assert [caption.lines for caption in found] == [("夜" * 20, "夜" * 20)] * 2 + [("夜" * 20,)]


def test_speakers_on_channels_may_be_shown_together_but_no_two_captions_of_one() -> None:
    both = [segment(0, 3000, " Are you", channel=0), segment(500, 2000, " Yes.", channel=1)]
    found = captions_of([*both, segment(1000, 4000, " there?", channel=0)], RULES)
    times = [(each.start_ms, each.end_ms, each.channel) for each in found]
    assert times == [(0, 1000, 0), (500, 2000, 1), (1000, 4000, 0)]


def test_a_segment_without_length_is_shown_for_a_moment() -> None:
    found = captions_of([segment(500, 500, " a"), segment(500, 500, " b")], RULES)
    assert [(each.start_ms, each.end_ms) for each in found] == [(500, 501), (501, 502)]


def test_silence_has_no_captions() -> None:
    assert captions_of([], RULES) == captions_of([segment(0, 100, " ")], RULES) == []


texts = st.text(st.sampled_from("ab ,.\n夜-"), max_size=120)
timings = st.tuples(st.integers(0, 9000), st.integers(0, 9000), texts, st.sampled_from([None, 0, 1]))
rules = st.builds(
    Captions,
    max_line_chars=st.integers(1, 30),
    max_lines=st.integers(1, 3),
    max_seconds=st.floats(0.5, 10),
)


@given(st.lists(timings, max_size=5), rules)
def test_whatever_is_said_lines_are_short_times_are_apart_and_nothing_is_lost(
    said: list[tuple[int, int, str, int | None]], rules: Captions
) -> None:
    segments: list[Segment] = [
        segment(start, start + length, text, channel=channel) for start, length, text, channel in said
    ]
    found = captions_of(sorted(segments, key=lambda each: each.start_ms), rules)
    for caption in found:
        assert 1 <= len(caption.lines) <= rules.max_lines
        assert all(0 < len(line) <= rules.max_line_chars for line in caption.lines)
        assert caption.end_ms > caption.start_ms
    assert [caption.start_ms for caption in found] == sorted(caption.start_ms for caption in found)
    for channel in (None, 0, 1):
        of_one = [caption for caption in found if caption.channel == channel]
        assert all(first.end_ms <= second.start_ms for first, second in pairwise(of_one))
    kept = sorted(letter for caption in found for line in caption.lines for letter in line if letter != " ")
    assert kept == sorted(letter for each in segments for letter in each.text if not letter.isspace())


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_a_caption_is_shown_no_longer_than_it_may_be(seconds: float) -> None:
    found = captions_of([segment(0, 20_000, LONG)], Captions(max_seconds=seconds))
    assert max(caption.end_ms - caption.start_ms for caption in found) <= seconds * 1000
