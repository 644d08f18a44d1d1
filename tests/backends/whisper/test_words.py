"""Texts fall into words, and each begins in a token."""

import pytest

from backends.whisper.words import first_tokens, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" He said, “Go!”", [" He", " said,", " “Go!”"]),
        (" well-known — as it were ...", [" well-known —", " as", " it", " were ..."]),
        ("- no\n", ["- no\n"]),
        ("今日は「雨」だ。", ["今", "日", "は", "「雨」", "だ。"]),
        (" Das Wort 雨 ist", [" Das", " Wort", " 雨", " ist"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("   ", []),
        ("", []),
    ],
)
def test_words_are_parted_by_spaces_or_where_there_are_none_by_letters(text: str, words: list[str]):
    assert words_of(text) == words
    assert "".join(words) == (text if text.strip() else "")


def test_a_word_begins_in_the_token_of_its_first_letter():
    # " un" "believ" "able" " " "things" "!"
    assert first_tokens([" unbelievable", " things!"], [3, 9, 13, 14, 20, 21]) == [0, 4]
