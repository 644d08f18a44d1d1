"""Bodies to checked rows of ids: every row that reaches a native library is one that it survives."""

import json
from dataclasses import replace

import numpy as np
import pytest

from backends.bert.prepare import ENDPOINT, Prepared, finish, prepare
from backends.bert.tokenizer import BertTokenizer
from backends.errors import InvalidBody
from tests.backends.bert.shapes import CLS, MODEL, SEP, VOCAB, tokenizer
from tests.fixtures.tiny_tokenizers import byte_pairs, word_piece

TOKENIZER = tokenizer()


def prepared(**fields: object) -> Prepared:
    return prepare(ENDPOINT, json.dumps(fields).encode(), MODEL, TOKENIZER)


def refused(**fields: object) -> InvalidBody:
    with pytest.raises(InvalidBody) as caught:
        prepared(**fields)
    return caught.value


def test_texts_get_special_tokens_and_ids_are_taken_as_they_are() -> None:
    (row,) = prepared(input="the slot").rows
    assert [row[0], row[-1]] == [CLS, SEP]
    assert prepared(input=[[7, 8], [9]]).rows == [[7, 8], [9]]
    assert prepared(input=[7, 8]).rows == [[7, 8]]


@pytest.mark.parametrize("ids", [[VOCAB], [5, VOCAB], [2**31 - 1], [5, 2**31 - 1]])
def test_an_id_outside_the_vocabulary_is_refused(ids: list[int]) -> None:
    error = refused(input=ids)
    assert (error.code, error.param) == ("invalid_token_id", "input")


def test_the_first_and_the_last_id_are_in_the_vocabulary() -> None:
    assert prepared(input=[0, VOCAB - 1]).rows == [[0, VOCAB - 1]]


def test_an_overlong_input_is_refused_with_its_number_and_both_lengths() -> None:
    error = refused(input=["a", "a " * 31])
    assert error.code == "context_length_exceeded"
    assert "input 1 has 33 tokens" in error.message
    assert "at most 32" in error.message
    assert prepared(input=["a", "a " * 30]).tokens == 3 + 32


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["a", "a " * 31], "input 257 has 33 tokens"),
        ([[7], [VOCAB]], "input 257 has a token id"),
        (["a", "a" * 1_000_001], "input 257 has 1000001 characters"),
        (["a", "a " * 31_000], "inputs 256 to 257 make"),
    ],
)
def test_an_error_of_a_piece_names_the_input_as_the_caller_counts_it(
    inputs: list[object], message: str
) -> None:
    overlong = "chunk_mean" if "make" in message else "error"
    piece = [256, {"input": inputs, "overlong": overlong}]
    with pytest.raises(InvalidBody, match=message):
        prepare(ENDPOINT, json.dumps(piece).encode(), MODEL, TOKENIZER)


def test_more_inputs_than_the_spec_allows_are_refused() -> None:
    narrow = replace(MODEL, max_inputs=2)
    assert len(prepare(ENDPOINT, b'{"input": ["a", "b"]}', narrow, TOKENIZER).rows) == 2
    with pytest.raises(InvalidBody) as caught:
        prepare(ENDPOINT, b'{"input": ["a", "b", "c"]}', narrow, TOKENIZER)
    assert (caught.value.code, caught.value.param) == ("too_many_inputs", "input")


def test_a_truncated_text_keeps_its_closing_token() -> None:
    (row,) = prepared(input="a b c d " * 20, overlong="truncate").rows
    assert len(row) == 32
    assert [row[0], row[-1]] == [CLS, SEP]
    assert prepared(input=[7] * 40, overlong="truncate").rows == [[7] * 32]


def test_windows_hold_every_token_once_between_special_tokens() -> None:
    text = "a b c d e f g " * 10
    (whole,) = TOKENIZER.encode([text])
    found = prepared(input=["a", text], overlong="chunk_mean")
    assert found.spans == [(0, 1), (1, 4)]
    windows = found.rows[1:]
    assert all(len(row) <= 32 and row[0] == CLS and row[-1] == SEP for row in windows)
    assert [token for row in windows for token in row[1:-1]] == whole[1:-1]


def test_the_mean_of_windows_is_weighted_by_their_tokens_and_of_length_one() -> None:
    found = Prepared(rows=[[5], [5] * 3, [5]], spans=[(0, 2), (2, 3)], dimensions=None)
    vectors = np.eye(4, dtype=np.float32)[:3]
    mean, single = finish(found, vectors, MODEL)
    np.testing.assert_allclose(mean, np.array([1, 3, 0, 0]) / np.sqrt(10), rtol=1e-6)
    assert np.array_equal(single, vectors[2])
    plain, _ = finish(found, vectors, replace(MODEL, normalize=False))
    np.testing.assert_allclose(plain, [0.25, 0.75, 0, 0])


def test_windows_that_cancel_out_give_no_nan() -> None:
    found = Prepared(rows=[[5], [5]], spans=[(0, 2)], dimensions=2)
    vectors = np.array([[1, 0, 0, 0], [-1, 0, 0, 0]], dtype=np.float32)
    assert finish(found, vectors, MODEL).tolist() == [[0, 0]]


@pytest.mark.parametrize("overlong", ["error", "truncate", "chunk_mean"])
def test_a_text_too_long_to_tokenize_is_refused_unread(overlong: str) -> None:
    error = refused(input=["a", "a" * 1_000_001], overlong=overlong)
    assert (error.code, error.param) == ("context_length_exceeded", "input")
    assert "input 1 has 1000001 characters" in error.message


def test_more_windows_than_a_part_may_have_are_refused() -> None:
    tokens = 30 * 1024  # one more window than there are further ones
    assert len(prepared(input=["a " * tokens], overlong="chunk_mean").rows) == 1024
    assert len(prepared(input=["a "] * 2000, overlong="chunk_mean").rows) == 2000
    error = refused(input=["a", "a " * (tokens + 31)], overlong="chunk_mean")
    assert error.code == "context_length_exceeded"
    assert "1024" in error.message


def test_the_first_input_that_is_wrong_ends_the_work() -> None:
    read: list[str] = []

    class Reading(BertTokenizer):
        def encode(self, texts: list[str]) -> list[list[int]]:
            read.extend(texts)
            return super().encode(texts)

    body = json.dumps({"input": ["a", "b " * 40, "c"]}).encode()
    with pytest.raises(InvalidBody):
        prepare(ENDPOINT, body, MODEL, Reading(word_piece()))
    assert "c" not in read


def test_more_dimensions_than_the_model_has_are_refused_before_computing() -> None:
    assert refused(input="a", dimensions=5).code == "invalid_dimensions"
    assert prepared(input="a", dimensions=4).dimensions == 4


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidBody):
        prepare(ENDPOINT, b'{"input": "\\ud800"}', MODEL, TOKENIZER)


def test_a_prefix_is_put_before_texts_and_not_before_ids() -> None:
    model = replace(MODEL, prefixes={"query": "the ", "passage": "its "}, default_prefix="passage")

    def rows(**fields: object) -> list[list[int]]:
        return prepare(ENDPOINT, json.dumps(fields).encode(), model, TOKENIZER).rows

    assert rows(input="slot", input_type="query") == TOKENIZER.encode(["the slot"])
    assert rows(input="slot") == TOKENIZER.encode(["its slot"])
    assert rows(input=[7, 8], input_type="query") == [[7, 8]]
    with pytest.raises(InvalidBody, match="passage, query") as caught:
        rows(input="slot", input_type="question")
    assert (caught.value.code, caught.value.param) == ("invalid_value", "input_type")


def test_a_model_without_prefixes_refuses_an_input_type() -> None:
    assert refused(input="slot", input_type="query").code == "invalid_value"


def test_lower_case_is_made_where_the_model_asks_for_it() -> None:
    body = json.dumps({"input": "THE Slot"}).encode()
    cased = BertTokenizer(byte_pairs())
    plain = prepare(ENDPOINT, body, MODEL, cased).rows
    lower = prepare(ENDPOINT, body, replace(MODEL, lower_case=True), cased).rows
    assert lower == cased.encode(["the slot"]) != plain


@pytest.mark.parametrize("text", [" ", "\n\t", "\0", "\u200b", "[CLS] [SEP]", "x" * 5000, "🎉" * 50])
def test_odd_texts_become_rows_within_the_bounds(text: str) -> None:
    (row,) = prepared(input=text, overlong="truncate").rows
    assert 2 <= len(row) <= 32
    assert all(0 <= token < VOCAB for token in row)
