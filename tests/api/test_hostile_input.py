"""What breaks careless services, at every place where it could be put: NUL bytes, ids of nothing, bodies that
are too large or of another kind. Each is refused in the envelope, and who calls properly notices nothing."""

import copy
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from openai import OpenAI

from api.openapi import document
from tests.api.test_bad_input import code_of
from tests.api.test_openapi import ROUTES
from tests.fixtures.stack import Stack

Path = tuple[str | int, ...]

DOCUMENT = document(ROUTES)
OPERATIONS = [
    (method.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]

WORK = {
    "endpoint": "/v1/embeddings",
    "model": "echo",
    "completion_window": "24h",
    "window": "22:00-06:00",
    "timezone": "Europe/Berlin",
    "not_before": "2026-01-01T00:00:00Z",
    "output_expires_after": {"anchor": "created_at", "seconds": 3600},
    "requests": [{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"input": "a"}}],
}
PROPER: dict[str, Any] = {
    "/v1/embeddings": {
        "model": "echo",
        "input": "a",
        "user": "a",
        "encoding_format": "float",
        "overlong": "error",
    },
    "/v1/jobs": WORK,
    "/v1/batches": WORK,
    "/v1/uploads": {"bytes": 1, "filename": "a", "mime_type": "text/plain", "purpose": "batch"},
}
# These would be refused by the shared service anyway, or change it.
OTHERS: dict[str, Any] = {
    "/v1/webhook_endpoints": {"name": "a", "url": "https://192.0.2.1/", "event_types": ["job.completed"]},
    "/v1/keys": {"name": "a", "project": "a", "scopes": ["read"]},
}
ANY_TEXT = ("input", "body", "user")  # never reach a text column


def texts_in(value: Any, path: Path = ()) -> Iterator[Path]:
    """The places of all strings but the inputs of a model, which may be any text."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in ANY_TEXT:
                yield from texts_in(inner, (*path, name))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from texts_in(inner, (*path, n))


def with_nul(value: Any, path: Path) -> Any:
    """A copy in which the string at `path` begins as before and ends behind a NUL."""
    changed = copy.deepcopy(value)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] += "\0x"
    return changed


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def job_id(stack: Stack) -> str:
    """A job that is there."""
    return str(httpx.post(f"{stack.url}/v1/jobs", json=WORK, timeout=30).json()["id"])


@pytest.mark.parametrize("route", PROPER)
def test_the_bodies_are_proper_before_anything_is_done_to_them(http: httpx.Client, route: str) -> None:
    assert http.post(route, json=PROPER[route]).status_code == 200


@pytest.mark.parametrize(
    ("route", "path"),
    [(route, path) for route, body in (PROPER | OTHERS).items() for path in texts_in(body)],
)
def test_a_nul_in_any_string_of_a_body(http: httpx.Client, route: str, path: Path) -> None:
    status, code = code_of(http.post(route, json=with_nul((PROPER | OTHERS)[route], path)))
    assert status == (404 if code == "model_not_found" else 400)


@pytest.mark.parametrize("route", ["/v1/jobs", "/v1/batches", "/v1/embeddings"])
@pytest.mark.parametrize("name", ["webhook_url", "metadata"])
def test_a_nul_in_a_webhook_url(http: httpx.Client, route: str, name: str) -> None:
    url = "https://192.0.2.1/\0x"
    body = PROPER[route] | {name: url if name == "webhook_url" else {"webhook_url": url}}
    assert code_of(http.post(route, json=body)) == (400, "invalid_webhook_url")


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        (method, path, parameter["name"])
        for method, path, operation in OPERATIONS
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    ],
)
@pytest.mark.parametrize("value", ["\0", "x" * 5000, "-1e400", "99999999999999999999"])
def test_a_query_parameter_that_no_client_would_send(
    http: httpx.Client, job_id: str, method: str, path: str, name: str, value: str
) -> None:
    reply = http.request(method, path.replace("{job_id}", job_id), params={name: value})
    if reply.status_code < 400:  # a name of something that is nowhere: an empty page
        assert reply.json()["data"] == []
    else:
        assert code_of(reply)[0] in (400, 404)


@pytest.mark.parametrize("value", ["nope", "%00", "%F0%9F%98%80", "..%2F..%2Fetc", "x" * 3000])
@pytest.mark.parametrize(
    ("method", "path", "has_body"),
    [(method, path, "requestBody" in operation) for method, path, operation in OPERATIONS if "{" in path],
)
def test_an_id_of_nothing(http: httpx.Client, method: str, path: str, has_body: bool, value: str) -> None:
    for name in ("batch_id", "custom_id", "delivery_id", "endpoint_id", "file_id", "job_id", "key_id", "name",
                 "upload_id"):  # fmt: skip
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, "name the new parameter above"
    status, code = code_of(http.request(method, path, json={} if has_body else None))
    assert status == 404 or (has_body and status == 400)
    assert code.endswith("not_found") or has_body


def test_a_body_over_the_limit_is_refused_before_it_is_read(stack: Stack) -> None:
    for route in PROPER | OTHERS:
        connection = HTTPConnection(urlsplit(stack.url).netloc, timeout=30)
        connection.putrequest("POST", route)
        connection.putheader("content-length", str(10**12))
        connection.endheaders()
        reply = connection.getresponse()
        error = json.loads(reply.read())["error"]
        assert (reply.status, error["code"]) == (413, "body_too_large"), route
        connection.close()


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data", "", "text/plain; a=\xff"]
)
def test_a_form_of_another_kind(http: httpx.Client, content_type: str) -> None:
    headers = {"content-type": content_type.encode("latin-1")}
    for route in ("/v1/files", "/v1/uploads/upload_none/parts"):
        status, _ = code_of(http.post(route, content=b"{}", headers=headers))
        assert status in (400, 404)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"metadata": {f"k{n}": "v" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata"),
        ({"metadata": {"k": 1}}, "metadata"),
        ({"priority": 101}, "priority"),
        ({"priority": 10**30}, "priority"),
        ({"completion_window": "0h"}, "completion_window"),
        ({"completion_window": "9" * 400 + "d"}, "completion_window"),
        ({"not_before": 1e300}, "not_before"),
        ({"not_before": "0001-01-01T00:00:00+23:59"}, "not_before"),
        ({"not_before": "tomorrow"}, "not_before"),
        ({"timezone": None}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"window": "25:00-06:00"}, "window"),
        ({"requests": []}, None),
        ({"requests": [{"custom_id": "x" * 1_000_000, "body": {"input": "a"}}]}, None),
        ({"requests": [{"body": [1]}]}, None),
    ],
    ids=range(17),
)
@pytest.mark.parametrize("route", ["/v1/jobs", "/v1/batches"])
def test_a_field_out_of_its_bounds(
    http: httpx.Client, route: str, change: dict[str, Any], param: str | None
) -> None:
    reply = http.post(route, json=WORK | change)
    assert code_of(reply)[0] == 400
    assert param is None or reply.json()["error"]["param"].startswith(param)


def test_after_all_of_it_a_proper_call_is_answered(client: OpenAI) -> None:
    assert len(client.embeddings.create(model="echo", input="hello").data[0].embedding) == 8
