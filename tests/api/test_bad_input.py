"""Requests as no official client would send them: each is refused in the envelope, and none is our error."""

from collections.abc import Iterator

import httpx
import pytest

from tests.fixtures.stack import Stack

JSON = {"content-type": "application/json"}


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        yield client


def code_of(reply: httpx.Response) -> tuple[int, str]:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"]
    return reply.status_code, error["code"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/batches", "/v1/jobs", "/v1/uploads"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}",
        b"null",
        b"[]",
        b'"text"',
        b'{"model": NaN}',
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b'{"endpoint": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"input": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b"\x00" * 1000,
    ],
    ids=range(12),
)
def test_a_body_that_is_not_what_it_should_be(http: httpx.Client, path: str, body: bytes) -> None:
    status, code = code_of(http.post(path, content=body, headers=JSON))
    assert status == 400
    assert code in ("invalid_json", "invalid_request", "invalid_type", "missing_required_parameter")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/embeddings", (404, "not_found")),
        ("POST", "/v1/v1/embeddings", (404, "not_found")),
        ("POST", "/v1/embeddings/", (404, "not_found")),
        ("POST", "/v1/chat/completions", (404, "not_found")),
        ("GET", "/", (404, "not_found")),
        ("GET", "/%00", (404, "not_found")),
        ("GET", "/v1/embeddings", (405, "method_not_allowed")),
        ("PUT", "/v1/files", (405, "method_not_allowed")),
        ("GET", "/v1/files?limit=0", (400, "invalid_value")),
        ("GET", "/v1/files?limit=10001", (400, "invalid_value")),
        ("GET", "/v1/files?order=sideways", (400, "invalid_value")),
        ("GET", "/v1/files?purpose=%00", (400, "invalid_value")),
        ("GET", "/v1/files?after=file-nope", (404, "file_not_found")),
        ("GET", "/v1/files/%00", (404, "file_not_found")),
        ("GET", "/v1/files/file-nope/content", (404, "file_not_found")),
        ("DELETE", "/v1/files/file-nope", (404, "file_not_found")),
        ("GET", "/v1/batches?limit=101", (400, "invalid_value")),
        ("GET", "/v1/batches?after=batch_nope", (404, "batch_not_found")),
        ("GET", "/v1/batches/batch_%00", (404, "batch_not_found")),
        ("POST", "/v1/batches/job_nope/cancel", (404, "batch_not_found")),
        ("POST", "/v1/uploads/upload_nope/cancel", (404, "upload_not_found")),
        ("POST", "/v1/uploads/%00/cancel", (404, "upload_not_found")),
        ("GET", "/v1/models/%00", (404, "model_not_found")),
        ("GET", "/v1/jobs/job_nope/results?after=-2", (400, "invalid_value")),
    ],
)
def test_a_wrong_path_or_parameter(
    http: httpx.Client, method: str, path: str, expected: tuple[int, str]
) -> None:
    assert code_of(http.request(method, path)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (400, "missing_required_parameter")),
        ({"purpose": "homework"}, (400, "invalid_purpose")),
        ({"purpose": "batch_output"}, (400, "invalid_purpose")),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, (400, "invalid_value")),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, (400, "invalid_value")),
        ({"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "60"},
         (400, "invalid_value")),
        ({"purpose": "batch", "expires_after[anchor]": "born", "expires_after[seconds]": "3600"},
         (400, "invalid_value")),
    ],
)  # fmt: skip
def test_a_file_with_wrong_fields(
    http: httpx.Client, fields: dict[str, str], expected: tuple[int, str]
) -> None:
    assert code_of(http.post("/v1/files", data=fields, files={"file": ("a", b"x")})) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"bytes": 0, "filename": "a", "mime_type": "b", "purpose": "batch"}, (400, "invalid_value")),
        ({"bytes": 2**60, "filename": "a", "mime_type": "b", "purpose": "batch"}, (413, "file_too_large")),
        ({"bytes": 1, "filename": "a\0", "mime_type": "b", "purpose": "batch"}, (400, "invalid_value")),
        ({"bytes": 1, "filename": "a", "mime_type": "b", "purpose": "homework"}, (400, "invalid_purpose")),
    ],
)
def test_an_upload_that_cannot_be(
    http: httpx.Client, body: dict[str, object], expected: tuple[int, str]
) -> None:
    assert code_of(http.post("/v1/uploads", json=body)) == expected


def test_metadata_may_hold_any_character(http: httpx.Client) -> None:
    body = {
        "endpoint": "/v1/embeddings",
        "requests": [{"body": {"model": "echo", "input": "a"}}],
        "metadata": {"odd": "\0 \u2028 \U0001f600"},
    }
    made = http.post("/v1/batches", json=body)
    assert made.status_code == 200
    assert made.json()["metadata"] == body["metadata"]
