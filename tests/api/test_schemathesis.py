"""schemathesis against the OpenAPI document, over every operation of the real service: no 5xx, replies as
they are described, every error in OpenAI's envelope.

The service is one of its own, with a key: what is generated makes and revokes keys, which would close the
shared one's door.
"""

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from api.openapi import document
from configs.error_codes import CODES, type_of
from store.embedded.services import EmbeddedServices
from tests.api.test_openapi import ROUTES
from tests.fixtures.stack import running_stack

EXAMPLES = 25  # per operation: all of them in less than a minute
KEY = "schemathesis-key"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def url(database_factory: Callable[[], str], open_folder: Path) -> Iterator[str]:
    database_url = database_factory()
    with (
        EmbeddedServices(open_folder / "thesis-redis", database_url=database_url, durable=False) as own,
        running_stack(
            open_folder / "thesis", database_url, own.redis_url, api_key=KEY, webhook_allow="127.0.0.0/8"
        ) as stack,
    ):
        yield stack.url


@pytest.fixture(scope="module")
def there(url: str) -> dict[str, str]:
    """Path parameters of objects that are there."""
    with httpx.Client(base_url=f"{url}/v1", headers=HEADERS, timeout=30) as http:
        work = {"endpoint": "/v1/embeddings", "model": "echo", "requests": [{"body": {"input": "a"}}]}
        upload = {"bytes": 1, "filename": "a", "mime_type": "b", "purpose": "batch"}
        endpoint = {"name": "a", "url": "http://127.0.0.1:9/", "event_types": ["job.completed"]}
        batch = http.post("/batches", json=work).json()
        return {
            "batch_id": batch["id"],
            "file_id": batch["input_file_id"],
            "job_id": http.post("/jobs", json=work).json()["id"],
            "upload_id": http.post("/uploads", json=upload).json()["id"],
            "endpoint_id": http.post("/webhook_endpoints", json=endpoint).json()["id"],
            "custom_id": "request-1",
            "name": "echo",
        }


schema = schemathesis.openapi.from_dict(document(ROUTES))


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@schema.given(is_there=strategies.booleans())
def test_no_request_is_too_strange(case: Any, url: str, there: dict[str, str], is_there: bool) -> None:
    if is_there and case.path_parameters:
        case.path_parameters |= {name: there[name] for name in case.path_parameters if name in there}
    case.call_and_validate(
        base_url=url,
        checks=[not_a_server_error, response_schema_conformance, errors_are_in_the_envelope],
        headers=HEADERS,
        timeout=30,
    )


def errors_are_in_the_envelope(ctx: Any, response: Any, case: Any) -> None:
    """A check of schemathesis: status, code and type of an error agree with the catalogue."""
    if response.status_code < 400 or case.path == "/ready":
        return
    assert response.status_code in http.client.responses
    body = response.json()
    assert list(body) == ["error"]
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert CODES[error["code"]].status == response.status_code
    assert error["type"] == type_of(response.status_code)
    assert response.headers["x-request-id"]
