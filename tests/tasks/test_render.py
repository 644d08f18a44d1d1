"""Lines and answers: OpenAI's shape, exact numbers, the same bytes every time."""

import base64
import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pytest

from backends.types import EmbeddingResult, ErrorInfo, encode_result
from store.jobs import JobRow
from store.results import ItemResult
from store.states import JobState
from tasks.embedding_bodies import embedding_body
from tasks.formats import Formats
from tasks.render import render_answer, render_line

BASE64 = Formats(encoding_format="base64")
VECTORS = np.array([[0.1, -2.5e-8, 3.0], [1 / 3, 0.0, -1.0]], dtype="<f4")


def job(**changes: Any) -> JobRow:
    nothing = dict.fromkeys(JobRow.__dataclass_fields__)
    known = {
        "id": 1,
        "suffix": "abc",
        "view": "batch",
        "endpoint": "/v1/embeddings",
        "model": "echo",
        "state": JobState.COMPLETED,
        "created_at": datetime.now(UTC),
    }
    return JobRow(**{**nothing, **known, **changes})


def item(*vectors: Any, body: bytes = b'{"input": "a"}', **changes: Any) -> ItemResult:
    """A result whose parts hold `vectors` and 5 tokens each."""
    parts = [
        encode_result(EmbeddingResult(tokens=5, dimensions=part.shape[1], vectors=part.tobytes()))
        for part in vectors
    ]
    return ItemResult(**{"n": 7, "custom_id": "q", "body": body, "status": 200, "parts": parts, **changes})


def failed(error: ErrorInfo, status: int) -> ItemResult:
    return ItemResult(n=7, custom_id="q", body=b"{}", status=status, parts=[encode_result(error)])


def test_a_line_has_the_shape_that_openai_writes() -> None:
    line = render_line(job(), item(VECTORS[:1]))
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "id": "batch_req_abc_7",
        "custom_id": "q",
        "response": {
            "status_code": 200,
            "request_id": "req_abc_7",
            "body": {
                "object": "list",
                "model": "echo",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -2.5e-8, 3.0]}],
                "usage": {"prompt_tokens": 5, "total_tokens": 5},
            },
        },
        "error": None,
    }


def test_floats_are_written_short_and_read_back_as_the_same_float32() -> None:
    numbers = np.random.default_rng(1).standard_normal((4, 256), dtype="<f4")
    line = render_line(job(), item(numbers))
    rows = [row["embedding"] for row in json.loads(line)["response"]["body"]["data"]]
    assert np.array_equal(np.array(rows, dtype=np.float32), numbers)
    assert len(line) < numbers.size * 14


def test_the_same_result_renders_to_the_same_bytes() -> None:
    assert render_line(job(), item(VECTORS)) == render_line(job(), item(VECTORS))


@pytest.mark.parametrize("asked", [b'{"encoding_format": "base64"}', b'{"encoding_format": null}', b"{}"])
def test_a_request_chooses_the_form_of_its_vectors(asked: bytes) -> None:
    rows = json.loads(render_line(job(), item(VECTORS, body=asked)))["response"]["body"]["data"]
    assert isinstance(rows[0]["embedding"], str if b"base64" in asked else list)


def test_a_reader_can_ask_for_another_form() -> None:
    line = render_line(job(), item(VECTORS, body=b'{"encoding_format": "float"}'), formats=BASE64)
    first = json.loads(line)["response"]["body"]["data"][0]["embedding"]
    assert np.array_equal(np.frombuffer(base64.b64decode(first), dtype="<f4"), VECTORS[0])


def test_parts_of_one_item_follow_each_other() -> None:
    body = json.loads(render_line(job(), item(VECTORS, VECTORS[:1])))["response"]["body"]
    assert [row["index"] for row in body["data"]] == [0, 1, 2]
    assert body["data"][2]["embedding"] == body["data"][0]["embedding"]
    assert body["usage"] == {"prompt_tokens": 10, "total_tokens": 10}


def test_an_item_that_failed_has_its_status_and_an_envelope() -> None:
    line = render_line(job(), failed(ErrorInfo("empty_input", "'input' is empty", "input"), 400))
    assert json.loads(line)["response"] == {
        "status_code": 400,
        "request_id": "req_abc_7",
        "body": {
            "error": {
                "message": "'input' is empty",
                "type": "invalid_request_error",
                "param": "input",
                "code": "empty_input",
            }
        },
    }
    assert json.loads(line)["error"] is None


@pytest.mark.parametrize("code", ["engine_crashed", "engine_timeout"])
def test_an_item_whose_engine_ended_has_an_error_and_no_response(code: str) -> None:
    line = json.loads(render_line(job(), failed(ErrorInfo(code, "ended twice (SIGSEGV)"), 500)))
    assert line["response"] is None
    assert line["error"] == {"code": code, "message": "ended twice (SIGSEGV)"}


def test_a_custom_id_of_any_characters_survives() -> None:
    odd = 'é"\\\n\u2028 \U0001f600'
    assert json.loads(render_line(job(), item(VECTORS, custom_id=odd)))["custom_id"] == odd


def test_an_answer_is_the_body_alone() -> None:
    answer = json.loads(
        render_answer(item(VECTORS), partial(embedding_body, model="m", encoding_format="base64"))
    )
    assert answer["model"] == "m"
    assert base64.b64decode(answer["data"][1]["embedding"]) == VECTORS[1].tobytes()


def test_an_answer_to_a_failed_call_is_the_envelope() -> None:
    error = ErrorInfo("engine_crashed", "crashed twice")
    answer = json.loads(render_answer(failed(error, 500), lambda parts: parts))
    assert answer["error"] == {
        "message": "crashed twice",
        "type": "server_error",
        "param": None,
        "code": "engine_crashed",
    }
