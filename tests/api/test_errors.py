"""Whatever goes wrong, the reply is OpenAI's envelope with a request id."""

import pytest
from fastapi import FastAPI, Query
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from api import errors
from api.errors import ApiError
from api.middleware import RequestContext
from backends.errors import InvalidBody
from store.errors import DatabaseUnavailable, NotMigrated


def app_that_raises(error: Exception) -> FastAPI:
    app = FastAPI(redirect_slashes=False, openapi_url=None)

    @app.post("/v1/embeddings")
    async def raises() -> None:
        raise error

    @app.get("/v1/files")
    async def takes_a_limit(limit: int = Query(ge=1)) -> dict[str, int]:
        return {"limit": limit}

    @app.post("/v1/files")
    async def takes_a_file() -> None:
        """A second method of one path."""

    errors.install(app, [route for route in app.routes if isinstance(route, APIRoute)])
    app.add_middleware(RequestContext)
    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(app_that_raises(ValueError("/secret/path")))


def test_a_refusal_carries_all_four_keys_and_a_request_id() -> None:
    client = TestClient(app_that_raises(ApiError("file_not_found", "No such file.", param="input_file_id")))
    reply = client.post("/v1/embeddings")
    assert reply.status_code == 404
    assert reply.json() == {
        "error": {
            "message": "No such file.",
            "type": "not_found_error",
            "param": "input_file_id",
            "code": "file_not_found",
        }
    }
    assert reply.headers["x-request-id"].startswith("req_")


def test_each_request_has_an_id_of_its_own(client: TestClient) -> None:
    first, second = client.get("/v1/files?limit=1"), client.get("/v1/files?limit=1")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_an_error_of_a_backend_keeps_its_code_and_is_not_worth_a_retry() -> None:
    error = InvalidBody("513 tokens", code="context_length_exceeded", param="input")
    reply = TestClient(app_that_raises(error)).post("/v1/embeddings")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert reply.headers["x-should-retry"] == "false"


def test_a_database_that_is_away_is_a_503_that_says_when_to_come_back() -> None:
    reply = TestClient(app_that_raises(DatabaseUnavailable("host secret refused"))).post("/v1/embeddings")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "service_unavailable")
    assert reply.headers["retry-after"] == "1"
    assert "secret" not in reply.text


def test_an_error_of_ours_shows_neither_path_nor_traceback(client: TestClient) -> None:
    reply = client.post("/v1/embeddings")
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "server_error")
    assert "secret" not in reply.text
    assert "Traceback" not in reply.text
    assert reply.headers["x-request-id"]


def test_a_wrong_query_parameter_is_a_400_that_names_it(client: TestClient) -> None:
    reply = client.get("/v1/files?limit=0")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "limit")
    assert reply.json()["error"]["code"] == "invalid_value"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/embeddings", "Did you mean /v1/embeddings? The client's base_url must end in /v1."),
        ("/v1/v1/embeddings", "Did you mean /v1/embeddings? The client's base_url ends in /v1 already."),
        ("/v1/embeddings/", "Did you mean /v1/embeddings?"),
        ("/v1/embedings", "Did you mean /v1/embeddings?"),
        ("/v1/quite/something/else", "docs/api.md lists the routes"),
        ("/", "docs/api.md lists the routes"),
    ],
)
def test_an_unknown_route_says_what_was_probably_meant(client: TestClient, path: str, hint: str) -> None:
    reply = client.post(path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
    assert hint in reply.json()["error"]["message"]


def test_a_wrong_method_says_which_are_taken(client: TestClient) -> None:
    reply = client.get("/v1/embeddings")
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "It takes POST." in reply.json()["error"]["message"]
    assert reply.headers["allow"] == "POST"
    assert "It takes GET, POST." in client.delete("/v1/files").json()["error"]["message"]


def test_a_database_that_is_not_migrated_is_unavailable_and_says_what_to_do() -> None:
    reply = TestClient(app_that_raises(NotMigrated())).post("/v1/embeddings")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "service_unavailable")
    assert "run: batchyard migrate" in reply.json()["error"]["message"]
