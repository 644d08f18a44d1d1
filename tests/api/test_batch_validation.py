"""Input files that fail a batch before anything is computed, and odd ones that do not."""

import json
from typing import Any

import pytest
from openai import OpenAI

from tests.fixtures.batches import GOOD, line, run, upload


@pytest.mark.parametrize(
    ("lines", "code", "number"),
    [
        ([], "empty_file", None),
        ([GOOD, b"{not json"], "invalid_json_line", 2),
        ([GOOD, b"[1]"], "invalid_json_line", 2),
        ([GOOD, b'{"custom_id": "\xff"}'], "invalid_utf8", 2),
        ([b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"input": NaN}}'],
         "invalid_json_line", 1),
        ([b"[" * 100_000], "invalid_json_line", 1),
        ([GOOD, b'{"custom_id": "' + b"x" * 2_000_000 + b'"}'], "line_too_long", 2),
        ([{"method": "POST", "url": "/v1/embeddings", "body": {"model": "echo"}}], "missing_custom_id", 1),
        ([GOOD, GOOD], "duplicate_custom_id", 2),
        ([line("a", {"model": "echo", "input": "x"}, url="/v1/chat/completions")], "invalid_url", 1),
        ([line("a", {"model": "echo", "input": "x"}, method="GET")], "invalid_method", 1),
        ([{"custom_id": "a", "method": "POST", "url": "/v1/embeddings"}], "missing_body", 1),
        ([GOOD, line("b", {"model": "all-minilm-l6-v2", "input": "x"})], "model_mismatch", 2),
        ([line("a", {"model": "nobody", "input": "x"})], "model_not_found", 1),
    ],
)  # fmt: skip
def test_a_malformed_line_fails_the_batch_and_is_named(
    client: OpenAI, lines: list[Any], code: str, number: int | None
) -> None:
    batch = run(client, upload(client, lines))
    assert batch.status == "failed"
    assert batch.failed_at is not None
    assert batch.output_file_id is None
    assert batch.errors is not None
    assert batch.errors.data
    assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, number)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(client: OpenAI) -> None:
    text = "\ufeff" + "\r\n".join(json.dumps({**GOOD, "custom_id": str(n)}) for n in range(3)) + "\r\n\r\n"
    batch = run(client, upload(client, [text.encode()]))
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.completed == 3


@pytest.mark.slow
def test_more_lines_than_a_batch_takes_fail_it(client: OpenAI) -> None:
    batch = run(
        client, upload(client, [line(str(n), {"model": "echo", "input": "x"}) for n in range(51_000)])
    )
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data
    assert batch.errors.data[0].code == "too_many_lines"
