"""`/v1/embeddings` through the official client."""

from typing import Any

import numpy as np
import openai
import pytest
from openai import OpenAI


def test_embeddings_come_as_base64_by_default_and_as_floats_when_asked(client: OpenAI) -> None:
    default = client.embeddings.create(model="echo", input=["one text", "another"])
    floats = client.embeddings.create(model="echo", input=["one text", "another"], encoding_format="float")
    assert [row.index for row in default.data] == [0, 1]
    assert default.usage.prompt_tokens == 3
    assert np.array_equal(
        np.array(default.data[0].embedding, dtype="f4"), np.array(floats.data[0].embedding, dtype="f4")
    )
    assert default.data[0].embedding != default.data[1].embedding


@pytest.mark.parametrize("given", ["text", ["a", "b"], [1, 2, 3], [[1, 2], [3]]])
def test_every_form_of_input_is_taken(client: OpenAI, given: Any) -> None:
    count = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
    assert len(client.embeddings.create(model="echo", input=given).data) == count


def test_dimensions_cut_and_rescale(client: OpenAI) -> None:
    vector = client.embeddings.create(model="echo", input="text", dimensions=4).data[0].embedding
    assert len(vector) == 4
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


def test_a_call_with_many_inputs_answers_all_of_them_in_order(client: OpenAI) -> None:
    texts = [f"text number {n % 700}" for n in range(1500)]
    rows = client.embeddings.create(model="echo", input=texts).data
    assert [row.index for row in rows] == list(range(1500))
    assert rows[0].embedding == rows[700].embedding == rows[1400].embedding
    assert rows[0].embedding != rows[1].embedding


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({"input": ""}, "empty_input", "input"),
        ({"input": []}, "empty_input", "input"),
        ({"input": ["a", 1]}, "invalid_type", "input"),
        ({"input": "a", "dimensions": 4096}, "invalid_dimensions", "dimensions"),
        ({"input": "a", "dimensions": 0}, "invalid_value", "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "invalid_value", "encoding_format"),
        ({"input": [-1]}, "invalid_token_id", "input"),
        ({"input": "a", "extra_body": {"inputs": "b"}}, "invalid_request", "inputs"),
        ({"input": ["a"] * 50_001}, "too_many_inputs", "input"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_a_bad_request_with_its_code(
    client: OpenAI, given: Any, code: str, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="echo", **given)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.type == "invalid_request_error"


def test_an_error_of_a_call_with_many_inputs_names_the_input_as_the_caller_counts_it(client: OpenAI) -> None:
    texts = ["a"] * 299 + ["a " * 8193]
    with pytest.raises(openai.BadRequestError, match="input 299 has 8193 tokens") as caught:
        client.embeddings.create(model="echo", input=texts)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")


def test_the_defaults_of_a_spec_hold_for_calls_with_many_inputs_too(client: OpenAI) -> None:
    texts = ["a"] * 299 + ["a b c d"]
    rows = client.embeddings.create(model="echo-short", input=texts, encoding_format="float").data
    assert {len(row.embedding) for row in rows} == {4}
    cut = client.embeddings.create(model="echo-short", input="a b", encoding_format="float").data[0]
    assert rows[299].embedding == cut.embedding


def test_a_model_that_takes_fewer_inputs_says_so(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="one call takes 400") as caught:
        client.embeddings.create(model="echo-short", input=["a"] * 401)
    assert (caught.value.code, caught.value.param) == ("too_many_inputs", "input")


def test_an_unknown_model_is_a_not_found_error_that_names_those_there_are(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="echo") as caught:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_base_url_without_v1_is_told_so(client: OpenAI) -> None:
    wrong = client.with_options(base_url=str(client.base_url).removesuffix("v1/"))
    with pytest.raises(openai.NotFoundError, match="must end in /v1"):
        wrong.embeddings.create(model="echo", input="a")
