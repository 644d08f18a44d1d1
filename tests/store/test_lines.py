"""Lines of an input file: what passes, and what is said of those that do not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from store.lines import MAX_ERRORS, LineError, LineRules, Request, check_requests, read_requests

RULES = LineRules(endpoint="/v1/embeddings", max_items=1000, max_line_bytes=4096)
LAX = LineRules(
    endpoint="/v1/embeddings", max_items=1000, max_line_bytes=4096, strict=False, default_model="default"
)


def line(**changes: Any) -> bytes:
    """A good line, but for `changes`; a value of ... leaves the field out."""
    fields = {
        "custom_id": "one",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "echo", "input": "text"},
    } | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def read(tmp_path: Path, content: bytes, rules: LineRules = RULES) -> list[Request | LineError]:
    path = tmp_path / "input.jsonl"
    path.write_bytes(content)
    return list(read_requests(path, rules))


def codes(found: list[Request | LineError]) -> list[tuple[str, int | None]]:
    return [(item.code, item.line) for item in found if isinstance(item, LineError)]


def test_a_good_line_keeps_its_body_as_it_was_written(tmp_path: Path) -> None:
    body = b'{"model" : "echo", "input":"caf\\u00e9 \xe2\x98\x95 \\u0000", "n": 1.0e0}'
    raw = b'{"custom_id":"one","method":"POST","url":"/v1/embeddings","body": ' + body + b" }"
    assert read(tmp_path, raw) == [Request(1, "one", "echo", body)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b" \r\n\t\n"], ids=repr)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_line_ends_blank_lines_and_a_bom_are_taken_as_they_come(
    tmp_path: Path, end: bytes, bom: bytes
) -> None:
    found = read(tmp_path, bom + end.join([line(custom_id="a"), line(custom_id="b")]))
    assert [item.custom_id for item in found if isinstance(item, Request)] == ["a", "b"]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"not json", "invalid_json_line"),
        (b'{"custom_id": "cut', "invalid_json_line"),
        (b"[1, 2]", "invalid_json_line"),
        (b"null", "invalid_json_line"),
        (line() + line(), "invalid_json_line"),
        (line().replace(b'"text"', b"NaN"), "invalid_json_line"),
        (line().replace(b'"text"', b"Infinity"), "invalid_json_line"),
        (line().replace(b'"text"', b"[" * 1900 + b"]" * 1900), "invalid_json_line"),
        (line().replace(b"text", b"te\xffxt"), "invalid_utf8"),
        (line().replace(b"text", b"\xed\xa0\x80"), "invalid_utf8"),
        (line().decode().encode("utf-16"), "invalid_utf8"),
        (line(custom_id=...), "missing_custom_id"),
        (line(custom_id=None), "missing_custom_id"),
        (line(custom_id=7), "invalid_type"),
        (line(custom_id=""), "invalid_value"),
        (line(custom_id="a\0b"), "invalid_value"),
        (line(custom_id="x" * 513), "invalid_value"),
        (line(method="GET"), "invalid_method"),
        (line(method=...), "invalid_method"),
        (line(url="/v1/chat/completions"), "invalid_url"),
        (line(url=...), "invalid_url"),
        (line(body=...), "missing_body"),
        (line(body=None), "missing_body"),
        (line(body="text"), "missing_body"),
        (line(body=[{"model": "echo"}]), "missing_body"),
        (line(body={"input": "text"}), "missing_required_parameter"),
        (line(body={"model": None}), "missing_required_parameter"),
        (line(body={"model": 5}), "invalid_type"),
        (line(body={"model": "echo", "input": "x" * 5000}), "line_too_long"),
    ],
    ids=repr,
)
def test_a_bad_line_is_named_and_the_rest_is_read(tmp_path: Path, raw: bytes, code: str) -> None:
    found = read(tmp_path, b"\n".join([line(custom_id="before"), raw, line(custom_id="after")]))
    assert codes(found) == [(code, 2)]
    assert [item.line for item in found if isinstance(item, Request)] == [1, 3]


def test_lines_that_name_another_model_than_the_first_are_named(tmp_path: Path) -> None:
    models = ["echo", "other", "echo", "third"]
    found = read(tmp_path, b"\n".join(line(body={"model": model}) for model in models))
    assert codes(found) == [("model_mismatch", 2), ("model_mismatch", 4)]


def test_all_names_of_a_model_are_one_and_the_first_is_kept(tmp_path: Path) -> None:
    names = {"alias": "echo", "other alias": "echo"}
    rules = replace(RULES, model_of=lambda name: names.get(name, name))
    models = ["alias", "echo", "other alias", "third", "echo"]
    found = read(tmp_path, b"\n".join(line(body={"model": model}) for model in models), rules)
    assert codes(found) == [("model_mismatch", 4)]
    assert {item.model for item in found if isinstance(item, Request)} == {"alias"}


def test_unknown_fields_are_let_be(tmp_path: Path) -> None:
    assert codes(read(tmp_path, line(metadata={"any": "thing"}))) == []


def test_a_job_needs_less_than_a_batch(tmp_path: Path) -> None:
    raw = b'{"body": {"input": "a"}}\n\n{"custom_id": "mine", "body": {"model": "default"}}'
    assert read(tmp_path, raw, LAX) == [
        Request(1, "line-1", "default", b'{"input": "a"}'),
        Request(3, "mine", "default", b'{"model": "default"}'),
    ]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (line(url="/v1/files"), "invalid_url"),
        (line(method="GET"), "invalid_method"),
        (line(body={"model": "other"}), "model_mismatch"),
    ],
    ids=["url", "method", "model"],
)
def test_what_a_line_of_a_job_says_must_be_right(tmp_path: Path, raw: bytes, code: str) -> None:
    assert codes(read(tmp_path, raw, LAX)) == [(code, 1)]


@pytest.mark.parametrize("content", [b"", b"\n\r\n  \n", b"\xef\xbb\xbf"], ids=repr)
def test_a_file_without_a_request_is_empty(tmp_path: Path, content: bytes) -> None:
    assert codes(read(tmp_path, content)) == [("empty_file", None)]


def test_lines_at_the_limits_pass_and_beyond_them_do_not(tmp_path: Path) -> None:
    raw = line(body={"model": "echo", "input": "x" * 100})
    exact = LineRules(endpoint="/v1/embeddings", max_items=1000, max_line_bytes=len(raw))
    short = LineRules(endpoint="/v1/embeddings", max_items=1000, max_line_bytes=len(raw) - 1)
    for end in (b"", b"\n", b"\r\n"):
        assert codes(read(tmp_path, raw + end, exact)) == []
        assert codes(read(tmp_path, raw + end + raw + end, short)) in (
            [("line_too_long", 1), ("line_too_long", 2)],
            [("line_too_long", 1)],  # without a line end the two are one
        )


def test_a_line_of_two_megabytes_is_skipped_whole(tmp_path: Path) -> None:
    huge = line(body={"model": "echo", "input": "x" * 2_000_000})
    found = read(tmp_path, b"\n".join([huge, line(custom_id="small"), huge]))
    assert codes(found) == [("line_too_long", 1), ("line_too_long", 3)]
    assert [item.custom_id for item in found if isinstance(item, Request)] == ["small"]


def test_a_file_may_have_so_many_lines_and_no_more(tmp_path: Path) -> None:
    rules = LineRules(endpoint="/v1/embeddings", max_items=3, max_line_bytes=4096)
    lines = [line(custom_id=str(n)) for n in range(5)]
    assert codes(read(tmp_path, b"\n".join(lines[:3]), rules)) == []
    assert codes(read(tmp_path, b"\n".join(lines), rules)) == [("too_many_lines", 4)]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    rules = LineRules(endpoint="/v1/embeddings", max_items=9, max_line_bytes=4096, max_bytes=len(line()))
    assert codes(read(tmp_path, line(), rules)) == []
    assert codes(read(tmp_path, line() + b"\n", rules)) == [("batch_file_too_large", None)]


def test_a_report_names_duplicates_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"\n".join([line(custom_id="a"), line(custom_id="b"), line(custom_id="a"), b"bad"]))
    duplicate, bad = check_requests(path, RULES)
    assert duplicate[:2] == ("duplicate_custom_id", 3)
    assert "line 1" in duplicate.message
    assert bad[:2] == ("invalid_json_line", 4)


def test_a_report_ends_after_so_many_errors(tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"bad\n" * (2 * MAX_ERRORS))
    assert len(check_requests(path, RULES)) == MAX_ERRORS
