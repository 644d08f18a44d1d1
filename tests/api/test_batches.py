"""Batches through the official client: computed, cancelled, paged."""

import time
from typing import Any

import openai
import pytest
import redis
from openai import OpenAI

from tests.fixtures.batches import GOOD, line, read_lines, run, upload, wait
from tests.fixtures.stack import Stack


def test_a_batch_of_a_thousand_lines_with_seven_bad_ones(client: OpenAI) -> None:
    bad: dict[int, tuple[dict[str, Any], str]] = {
        3: ({"input": ""}, "empty_input"),
        100: ({"input": []}, "empty_input"),
        250: ({"input": 5}, "invalid_type"),
        499: ({"input": "a", "dimensions": 10_000}, "invalid_dimensions"),
        500: ({"input": [[1], []]}, "empty_input"),
        777: ({"input": "a", "encoding_format": "hex"}, "invalid_value"),
        999: ({}, "missing_required_parameter"),
    }
    lines = [
        line(f"request-{n}", {"model": "echo", **(bad[n][0] if n in bad else {"input": f"text {n}"})})
        for n in range(1000)
    ]
    batch = run(client, upload(client, lines))

    assert batch.status == "completed"
    assert batch.metadata == {"test": "yes"}
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 1000, "completed": 993, "failed": 7}
    assert batch.usage is not None
    assert batch.usage.total_tokens == 993 * 2
    assert batch.completed_at is not None
    assert batch.output_file_id is not None
    assert batch.error_file_id is not None
    outputs, errors = read_lines(client, batch.output_file_id), read_lines(client, batch.error_file_id)
    answered = [row["custom_id"] for row in (*outputs, *errors)]
    assert sorted(answered) == sorted(row["custom_id"] for row in lines)
    assert all(row["response"]["status_code"] == 200 for row in outputs)
    assert {row["custom_id"]: row["response"]["body"]["error"]["code"] for row in errors} == {
        f"request-{n}": code for n, (_, code) in bad.items()
    }
    assert all(row["response"]["status_code"] == 400 for row in errors)
    for file_id in (batch.output_file_id, batch.error_file_id):
        file, content = client.files.retrieve(file_id), client.files.content(file_id).content
        assert (file.purpose, file.bytes) == ("batch_output", len(content))
        assert client.files.content(file_id).content == content
    same = client.embeddings.create(model="echo", input="text 4", encoding_format="float")
    assert outputs[3]["response"]["body"]["data"][0]["embedding"] == same.data[0].embedding


def test_a_batch_without_failures_has_no_error_file(client: OpenAI) -> None:
    batch = run(client, upload(client, [line("a", {"model": "echo", "input": "x"})]))
    assert batch.output_file_id is not None
    assert batch.error_file_id is None


def test_a_batch_of_failures_alone_has_no_output_file(client: OpenAI) -> None:
    batch = run(client, upload(client, [line("a", {"model": "echo", "input": ""})]))
    assert batch.status == "completed"
    assert batch.output_file_id is None
    assert batch.error_file_id is not None


def test_a_batch_refuses_a_file_of_another_purpose_and_one_that_is_not_there(client: OpenAI) -> None:
    wrong = upload(client, [GOOD], purpose="user_data")
    with pytest.raises(openai.BadRequestError) as caught:
        run(client, wrong)
    assert (caught.value.code, caught.value.param) == ("invalid_purpose", "input_file_id")
    with pytest.raises(openai.NotFoundError) as missing:
        run(client, "file-doesnotexist")
    assert missing.value.code == "file_not_found"


def test_a_cancelled_batch_ends_as_cancelled_and_its_lines_say_so(client: OpenAI) -> None:
    lines = [line(str(n), {"model": "echo-slow", "input": f"{n}"}) for n in range(200)]
    batch = client.batches.create(
        input_file_id=upload(client, lines), endpoint="/v1/embeddings", completion_window="24h"
    )
    while client.batches.retrieve(batch.id).status == "validating":  # until then it has no lines
        time.sleep(0.01)
    assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    batch = wait(client, batch.id)
    assert batch.status == "cancelled"
    assert batch.cancelled_at is not None
    assert batch.error_file_id is not None
    never_ran = read_lines(client, batch.error_file_id)
    ran = read_lines(client, batch.output_file_id) if batch.output_file_id else []
    assert {row["error"]["code"] for row in never_ran} == {"batch_cancelled"}
    assert len(ran) + len(never_ran) == len(lines)
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_a_batch_that_has_ended_cannot_be_cancelled(client: OpenAI) -> None:
    batch = run(client, upload(client, [GOOD]))
    with pytest.raises(openai.ConflictError) as caught:
        client.batches.cancel(batch.id)
    assert caught.value.code == "job_not_cancellable"
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_batches_are_paged(client: OpenAI) -> None:
    file_id = upload(client, [GOOD])
    made = [
        client.batches.create(
            input_file_id=file_id, endpoint="/v1/embeddings", completion_window="24h", metadata={"n": str(n)}
        ).id
        for n in range(5)
    ]
    seen = []
    for batch in client.batches.list(limit=2):
        seen.append(batch.id)
        if len(seen) == 5:
            break
    assert seen == made[::-1]


def test_a_batch_goes_on_when_redis_is_emptied(client: OpenAI, stack: Stack) -> None:
    lines = [line(str(n), {"model": "echo-slow", "input": f"{n}"}) for n in range(60)]
    batch = client.batches.create(
        input_file_id=upload(client, lines), endpoint="/v1/embeddings", completion_window="24h"
    )
    with redis.Redis.from_url(stack.redis_url) as server:
        for _ in range(8):
            server.flushall()
            time.sleep(0.25)
    ended = wait(client, batch.id)
    assert ended.status == "completed"
    assert ended.request_counts is not None
    assert (ended.request_counts.completed, ended.request_counts.failed) == (60, 0)


def test_errors_of_lines_with_many_inputs_name_what_the_caller_counts(client: OpenAI) -> None:
    long = line("long", {"model": "echo", "input": ["a"] * 299 + ["a " * 8193]})
    many = line("many", {"model": "echo", "input": ["a"] * 50_001})
    batch = run(client, upload(client, [long, many, GOOD]))
    assert batch.status == "completed"
    assert batch.error_file_id is not None
    replies = {row["custom_id"]: row["response"] for row in read_lines(client, batch.error_file_id)}
    assert {name: reply["status_code"] for name, reply in replies.items()} == {"long": 400, "many": 400}
    errors = {name: reply["body"]["error"] for name, reply in replies.items()}
    assert errors["long"]["message"].startswith("input 299 has 8193 tokens")
    assert errors["many"]["code"] == "too_many_inputs"
