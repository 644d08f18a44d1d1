"""What is logged of a request, and at which level."""

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from api.middleware import RequestContext


@pytest.fixture
def client() -> TestClient:
    app = FastAPI(openapi_url=None)

    @app.api_route("/{status}", methods=["GET", "HEAD", "POST", "DELETE"])
    async def answer(status: int) -> None:
        if status >= 400:
            raise HTTPException(status)

    app.add_middleware(RequestContext)
    return TestClient(app)


@pytest.mark.parametrize(
    ("method", "status", "level"),
    [
        ("GET", 200, "debug"),
        ("HEAD", 200, "debug"),
        ("GET", 404, "info"),
        ("GET", 503, "info"),
        ("POST", 200, "info"),
        ("DELETE", 200, "info"),
    ],
)
def test_reading_what_is_there_is_not_worth_a_line(
    client: TestClient, method: str, status: int, level: str
) -> None:
    with capture_logs() as logs:
        client.request(method, f"/{status}")
    (line,) = [line for line in logs if line["event"] == "request.done"]
    assert (line["log_level"], line["method"], line["status"]) == (level, method, status)
