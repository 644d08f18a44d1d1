"""Our count of wrong words agrees with the usual tools'."""

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from whisper_normalizer.english import EnglishTextNormalizer

from cli.demo_speech import read_clips
from cli.word_errors import WordErrors, edits, normalised, word_errors

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=12)


@given(heard=WORDS, said=WORDS.filter(bool))
def test_edits_are_those_of_jiwer(heard: list[str], said: list[str]) -> None:
    found = jiwer.process_words(" ".join(said), " ".join(heard))
    assert edits(heard, said) == found.substitutions + found.deletions + found.insertions


@pytest.mark.parametrize(
    ("heard", "said", "wrong"),
    [
        ("What, has happened to me?", "what hath happened unto me", WordErrors(2, 5)),
        (
            "I don't think, Mr. Hale — “quite” right…",
            "i don't think mister hale quite right",
            WordErrors(0, 7),
        ),
        ("Don\u2019t!", "don't", WordErrors(0, 1)),
        ("", "not a word", WordErrors(3, 3)),
        ("something", "", WordErrors(1, 0)),
    ],
)
def test_spelling_is_no_error(heard: str, said: str, wrong: WordErrors) -> None:
    assert word_errors(heard, said) == wrong


def test_no_words_have_no_rate_of_errors() -> None:
    assert WordErrors(1, 0).rate == 0.0
    assert WordErrors(1, 4).rate == 0.25


def test_what_is_said_in_the_clips_is_normalised_as_whisper_does_it() -> None:
    """But for British spelling, and contractions, which Whisper's normaliser writes out."""
    theirs = EnglishTextNormalizer()
    clips = read_clips()
    assert len(clips) == 29
    apart = sum(edits(normalised(clip.said), theirs(clip.said).split()) for clip in clips)
    assert apart <= 0.05 * sum(len(clip.said.split()) for clip in clips)
