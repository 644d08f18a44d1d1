import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.embeddings import (
    EmbeddingRequest,
    apply_dimensions,
    check_dimensions,
    cut_request,
    parse_embedding_request,
    parse_part,
    result_of,
)
from backends.errors import InvalidBody, PartFailed
from configs.error_codes import CODES


def parse(**fields: object) -> EmbeddingRequest:
    return parse_embedding_request(json.dumps({"model": "m", **fields}).encode())


def refusal(body: bytes) -> InvalidBody:
    with pytest.raises(InvalidBody) as caught:
        parse_embedding_request(body)
    return caught.value


def test_every_form_of_input_becomes_a_list_of_inputs() -> None:
    assert parse(input="one").inputs == ["one"]
    assert parse(input=["one", "two"]).inputs == ["one", "two"]
    assert parse(input=[1, 2]).inputs == [[1, 2]]
    assert parse(input=[[1], [2, 3]]).inputs == [[1], [2, 3]]
    assert parse(input=[0, 2**31 - 1]).inputs == [[0, 2**31 - 1]]


def test_defaults_are_those_of_openai() -> None:
    request = parse(input="x")
    assert (request.encoding_format, request.overlong, request.dimensions) == ("float", "error", None)


def test_null_is_the_same_as_leaving_a_field_out() -> None:
    absent = {"dimensions": None, "encoding_format": None, "user": None, "overlong": None, "input_type": None}
    assert parse(input="x", **absent) == parse(input="x")


@pytest.mark.parametrize("text", [" ", "\x00", "한국어", "🙂", "[CLS]", "x" * 5000])
def test_unusual_texts_are_texts(text: str) -> None:
    assert parse(input=text).inputs == [text]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": ""}, "empty_input", "input"),
        ({"input": []}, "empty_input", "input"),
        ({"input": ["a", ""]}, "empty_input", "input"),
        ({"input": [[]]}, "empty_input", "input"),
        ({"input": [[1], []]}, "empty_input", "input"),
        ({}, "missing_required_parameter", "input"),
        ({"input": None}, "missing_required_parameter", "input"),
        ({"input": 1}, "invalid_type", "input"),
        ({"input": {"a": 1}}, "invalid_type", "input"),
        ({"input": ["a", 1]}, "invalid_type", "input"),
        ({"input": ["a", None]}, "invalid_type", "input"),
        ({"input": [1, "a"]}, "invalid_type", "input"),
        ({"input": [[1], 2]}, "invalid_type", "input"),
        ({"input": [[1], "a"]}, "invalid_type", "input"),
        ({"input": [True]}, "invalid_type", "input"),
        ({"input": [1, True]}, "invalid_type", "input"),
        ({"input": [1.0]}, "invalid_type", "input"),
        ({"input": [None]}, "invalid_type", "input"),
        ({"input": [-1]}, "invalid_token_id", "input"),
        ({"input": [2**31]}, "invalid_token_id", "input"),
        ({"input": [2**64 - 1]}, "invalid_token_id", "input"),
        ({"input": "x", "dimensions": 0}, "invalid_value", "dimensions"),
        ({"input": "x", "dimensions": True}, "invalid_type", "dimensions"),
        ({"input": "x", "dimensions": 4.0}, "invalid_type", "dimensions"),
        ({"input": "x", "dimensions": "4"}, "invalid_type", "dimensions"),
        ({"input": "x", "encoding_format": "hex"}, "invalid_value", "encoding_format"),
        ({"input": "x", "encoding_format": 1}, "invalid_type", "encoding_format"),
        ({"input": "x", "overlong": "split"}, "invalid_value", "overlong"),
        ({"input": "x", "user": 7}, "invalid_type", "user"),
        ({"input": "x", "input_type": ["query"]}, "invalid_type", "input_type"),
        ({"input": "x", "temperature": 1}, "invalid_request", "temperature"),
        ({"input": "x", "model": 5}, "invalid_type", "model"),
        ({"input": "x", "model": ""}, "missing_required_parameter", "model"),
    ],
)
def test_a_wrong_field_is_named_with_its_code(fields: dict[str, object], code: str, param: str) -> None:
    error = refusal(json.dumps({"model": "m", **fields}).encode())
    assert (error.code, error.param) == (code, param)
    assert error.code in CODES


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nope",
        b'{"model": "m", "input": NaN}',
        b'{"model": "m", "input": [Infinity]}',
        b'{"model": "m", "input": "\xff"}',
        b'{"model": "m", "input": "\\ud800"}',
        b'{"model": "m", "input": "x"} trailing',
        b'{"model": "m", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_not_json_is_refused_as_such(body: bytes) -> None:
    assert refusal(body).code == "invalid_json"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1"])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    assert refusal(body).code == "invalid_request"


def test_json_as_deep_as_the_parser_takes_is_a_wrong_type_and_no_crash() -> None:
    body = b'{"model": "m", "input": ' + b'{"a":' * 900 + b"1" + b"}" * 901
    assert refusal(body).code == "invalid_type"


def test_a_missing_model_is_named_unless_there_is_a_default() -> None:
    body = b'{"input": "x"}'
    assert refusal(body).param == "model"
    assert parse_embedding_request(body, default_model="m").model == "m"


def test_more_inputs_than_the_limit_are_refused() -> None:
    body = b'{"model": "m", "input": ["a", "b", "c"]}'
    assert len(parse_embedding_request(body, max_inputs=3).inputs) == 3
    with pytest.raises(InvalidBody) as caught:
        parse_embedding_request(body, max_inputs=2)
    assert caught.value.code == "too_many_inputs"


@given(
    inputs=st.lists(st.text(min_size=1), min_size=1, max_size=40)
    | st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1), min_size=1, max_size=40),
    size=st.integers(1, 50),
    dimensions=st.none() | st.integers(1, 10_000),
)
def test_the_parts_of_a_request_together_are_the_request(
    inputs: list[str] | list[list[int]], size: int, dimensions: int | None
) -> None:
    fields = {"model": "m", "input": inputs, "overlong": "truncate", "input_type": "query"}
    body = orjson.dumps({**fields, "dimensions": dimensions})
    request, bodies = cut_request(body, size)
    parts = [part_of(body) for body in bodies]
    assert request.inputs == inputs
    assert [one for part in parts for one in part.inputs] == inputs
    assert all(len(part.inputs) == size for part in parts[:-1])
    assert [part.first for part in parts] == list(range(0, len(inputs), size))
    for part in parts:
        rest = {
            name: getattr(part, name) for name in part.__struct_fields__ if name not in ("inputs", "first")
        }
        assert rest == {name: getattr(request, name) for name in rest}


def part_of(body: bytes, max_inputs: int | None = None, **defaults: object) -> EmbeddingRequest:
    return parse_part(body, model="m", max_inputs=max_inputs, defaults=defaults)


def test_a_part_leaves_out_what_the_request_left_out() -> None:
    _, bodies = cut_request(b'{"input": ["a", "b", "c"], "user": null}', 2, default_model="m")
    assert [orjson.loads(body) for body in bodies] == [{"input": ["a", "b"]}, [2, {"input": ["c"]}]]
    parts = [part_of(body, overlong="truncate", dimensions=4) for body in bodies]
    assert [(part.overlong, part.dimensions) for part in parts] == [("truncate", 4)] * 2


def test_a_request_that_needs_no_cut_stays_as_it_was_written() -> None:
    body = b'{ "model":"m",  "input": ["a","b"] }'
    assert cut_request(body, 2)[1] == [body]


@pytest.mark.parametrize("body", [b'[3, {"input": "x"}]', b'{"input": "x", "first": 3}'])
def test_a_caller_cannot_send_a_piece(body: bytes) -> None:
    with pytest.raises(InvalidBody) as caught:
        parse_embedding_request(body, default_model="m")
    assert caught.value.code == "invalid_request"
    with pytest.raises(InvalidBody):
        cut_request(body, 1, default_model="m")


@pytest.mark.parametrize("body", [b"[3]", b'["3", {"input": "x"}]', b'[true, {"input": "x"}]', b'[3, "x"]'])
def test_what_is_no_piece_is_no_part(body: bytes) -> None:
    with pytest.raises(InvalidBody):
        part_of(body)


def test_a_part_has_no_more_inputs_than_its_model_allows() -> None:
    assert len(part_of(b'{"input": ["a", "b"]}', 2).inputs) == 2
    with pytest.raises(InvalidBody) as caught:
        part_of(b'{"input": ["a", "b", "c"]}', 2)
    assert (caught.value.code, caught.value.param) == ("too_many_inputs", "input")


def test_fewer_dimensions_are_cut_and_scaled_back() -> None:
    vectors = np.array([[3, 4, 12], [0, 0, 5]], dtype=np.float32)
    cut = apply_dimensions(vectors, 2)
    assert np.allclose(cut, np.array([[0.6, 0.8], [0, 0]]), atol=1e-7)
    assert cut.dtype == np.float32


@pytest.mark.parametrize("dimensions", [None, 3])
def test_all_dimensions_are_left_as_they_are(dimensions: int | None) -> None:
    vectors = np.array([[3, 4, 12]], dtype=np.float32)
    assert apply_dimensions(vectors, dimensions) is vectors


def test_more_dimensions_than_the_model_has_are_refused() -> None:
    with pytest.raises(InvalidBody) as caught:
        check_dimensions(4, 3)
    assert (caught.value.code, caught.value.param) == ("invalid_dimensions", "dimensions")
    with pytest.raises(InvalidBody):
        apply_dimensions(np.ones((1, 3), dtype=np.float32), 4)


def test_a_result_is_little_endian_float32_row_after_row() -> None:
    result = result_of(7, np.array([[1, 2], [3, 4]], dtype=">f8").astype(np.float32)[:, ::-1])
    assert (result.tokens, result.dimensions) == (7, 2)
    assert result.vectors == np.array([2, 1, 4, 3], dtype="<f4").tobytes()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_result_that_is_no_number_is_refused(number: float) -> None:
    with pytest.raises(PartFailed) as caught:
        result_of(1, np.array([[1, number]], dtype=np.float32))
    assert caught.value.code == "non_finite_output"


def test_the_defaults_of_a_spec_fill_in_what_a_request_leaves_out() -> None:
    defaults = {"overlong": "truncate", "dimensions": 4}
    asked = parse_embedding_request(b'{"model": "m", "input": "a", "dimensions": 2}', defaults=defaults)
    assert (asked.overlong, asked.dimensions) == ("truncate", 2)


def test_null_leaves_the_defaults_of_a_spec_in_place() -> None:
    asked = parse_embedding_request(
        b'{"model": "m", "input": "a", "dimensions": null}', defaults={"dimensions": 4}
    )
    assert asked.dimensions == 4
