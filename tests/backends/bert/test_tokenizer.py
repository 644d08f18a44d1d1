"""The model's own tokenizer, freed of the truncation and padding that its file asks for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from backends.bert.overlong import content_of, shorten, windows
from backends.bert.tokenizer import BertTokenizer
from backends.errors import LoadFailed
from tests.fixtures.tiny_tokenizers import byte_pairs, unigram, word_piece

KINDS = [word_piece, byte_pairs, unigram]


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_and_padding_of_the_file_are_switched_off(
    tmp_path: Path, kind: Callable[[], Tokenizer]
) -> None:
    tokenizer = kind()
    whole = tokenizer.encode("the slot keeps its engine").ids
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=40)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert BertTokenizer.from_folder(tmp_path).encode(["the slot keeps its engine"]) == [whole]


@pytest.mark.parametrize("kind", KINDS)
def test_the_special_tokens_around_a_text_are_known(kind: Callable[[], Tokenizer]) -> None:
    tokenizer = BertTokenizer(kind())
    (ids,) = tokenizer.encode(["the slot"])
    opening, content, closing = content_of(ids, tokenizer)
    assert [len(opening), len(closing)] == [1, 1]
    assert opening + content + closing == ids


def test_texts_keep_their_order_and_an_empty_list_is_empty() -> None:
    tokenizer = BertTokenizer(word_piece())
    assert tokenizer.encode([]) == []
    assert tokenizer.encode(["a", "b", ""]) == [*tokenizer.encode(["a"]), *tokenizer.encode(["b"]), [2, 3]]


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"no tokenizer\.json"):
        BertTokenizer.from_folder(tmp_path)
    for content in (b"", b"{}", b"\xff", b'{"version": "1.0"}'):
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(LoadFailed, match=r"tokenizer\.json cannot be read"):
            BertTokenizer.from_folder(tmp_path)


def test_shortening_below_the_special_tokens_still_leaves_a_row() -> None:
    tokenizer = BertTokenizer(word_piece())
    (ids,) = tokenizer.encode(["a b c d"])
    assert shorten(ids, 1, tokenizer) == [2, ids[1], 3]
    assert windows(ids, 3, tokenizer) == [[2, token, 3] for token in ids[1:-1]]
    assert shorten(ids, len(ids), tokenizer) == ids
