"""Every route keeps projects and scopes apart: what is another project's is not there, what a key's scopes do
not cover is refused, and a route that is added is held to the same."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from api.app import ROUTERS, create_app
from configs.settings import Settings
from store.db import connect

ROUTES = [
    (method, route.path)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods or ())
]
# What is the whole service's: nobody's project, and shown to all who may read.
SHARED = ("/v1/models", "/v1/workers", "/v1/queues", "/v1/webhook_event_types")
# What the scope `admin` is for; the keys of all projects are its business.
FOR_ADMINS = {
    ("POST", "/v1/models/{name:path}/resume"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("GET", "/v1/keys/{key_id}"),
    ("DELETE", "/v1/keys/{key_id}"),
    ("POST", "/v1/prune"),
    ("GET", "/v1/webhook_secret"),
    ("POST", "/v1/webhook_secret/rotate"),
}
FOR_ANYBODY = {("GET", "/health"), ("GET", "/ready"), ("GET", "/openapi.json")}
# Deleting comes last, so that it is there for the others.
OF_ONE_OBJECT = sorted(
    ((m, p) for m, p in ROUTES if "{" in p and (m, p) not in FOR_ADMINS and not p.startswith(SHARED)),
    key=lambda route: route[0] == "DELETE",
)
LISTS = [path for method, path in ROUTES if ("POST", path) in ROUTES and method == "GET" and "{" not in path]

BODIES = {
    "/v1/webhook_endpoints/{endpoint_id}/test": {"event_type": "batch.completed"},
    "/v1/uploads/{upload_id}/complete": {"part_ids": ["part_a"]},
}


NO_IDS = dict.fromkeys(re.findall(r"{(\w+)", "".join(path for _, path in ROUTES)), "none")


class Callers(NamedTuple):
    """An API, and who calls it: the headers of two keys of two projects."""

    api: TestClient
    owner: dict[str, str]
    stranger: dict[str, str]
    admin: dict[str, str]

    def call(self, method: str, path: str, caller: dict[str, str], ids: dict[str, str] | None = None) -> Any:
        """A request with these ids, and a body where its route needs one."""
        url = path.replace(":path}", "}").format(**(ids or {}))
        body: dict[str, Any] = {} if method == "GET" else {"json": BODIES.get(path, {})}
        if path.endswith("/parts"):
            body = {"files": {"data": ("part", b"text")}}
        return self.api.request(method, url, headers=caller, **body)

    def key(self, **fields: Any) -> dict[str, str]:
        made = self.api.post("/v1/keys", json={"name": "test", **fields}, headers=self.admin)
        return {"authorization": f"Bearer {made.json()['key']}"}


@pytest.fixture
def callers(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Callers]:
    settings = Settings(
        home=tmp_path, database_url=database_url, redis_url=redis_url, webhook_allow="127.0.0.0/8"
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        first = api.post("/v1/keys", json={"name": "first"}).json()
        door = Callers(api, {}, {}, {"authorization": f"Bearer {first['key']}"})
        scopes = {"scopes": ["submit", "read"]}
        yield door._replace(
            owner=door.key(project="one", **scopes), stranger=door.key(project="two", **scopes)
        )


@pytest.fixture
def ids(callers: Callers, database_url: str) -> dict[str, str]:
    """One object of each kind, of the owner's project, by the name of its parameter in a path."""
    api, owner = callers.api, callers.owner
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "echo", "input": "x"},
    }
    file = api.post(
        "/v1/files",
        headers=owner,
        files={"file": ("in.jsonl", json.dumps(line).encode())},
        data={"purpose": "batch"},
    ).json()
    upload = {"bytes": 4, "filename": "a", "mime_type": "text/plain", "purpose": "user_data"}
    work = {"endpoint": "/v1/embeddings", "input_file_id": file["id"], "completion_window": "24h"}
    endpoint = {"name": "mine", "url": "http://127.0.0.1:9/", "event_types": ["batch.completed"]}
    found = {
        "file_id": file["id"],
        "upload_id": api.post("/v1/uploads", json=upload, headers=owner).json()["id"],
        "batch_id": api.post("/v1/batches", json=work, headers=owner).json()["id"],
        "endpoint_id": api.post("/v1/webhook_endpoints", json=endpoint, headers=owner).json()["id"],
        "custom_id": "a",
    }
    found["job_id"] = found["batch_id"].replace("batch_", "job_")
    _end_and_announce(database_url)
    [delivery] = api.get("/v1/webhook_deliveries", headers=owner).json()["data"]
    return found | {"delivery_id": delivery["id"]}


def _end_and_announce(database_url: str) -> None:
    """The one job ends with its one item not done, and an event goes to the one endpoint."""
    with connect(database_url, name="test") as conn:
        conn.execute(
            "UPDATE job SET state = 'cancelled', family = 'echo', model = 'echo', items = 1, parts = 1, "
            "ended_at = now()"
        )
        conn.execute("INSERT INTO item (job_id, n, custom_id, body) SELECT id, 0, 'a', '{}' FROM job")
        conn.execute(
            "INSERT INTO webhook_event (id, project_id, job_id, type, payload) "
            "SELECT 'evt_a', project_id, id, 'batch.cancelled', '{}' FROM job"
        )
        conn.execute(
            "INSERT INTO delivery (project_id, event_id, endpoint_id, receiver) "
            "SELECT project_id, 'evt_a', id, 'r' FROM webhook_endpoint"
        )


def test_what_is_another_projects_is_not_there(callers: Callers, ids: dict[str, str]) -> None:
    for method, path in OF_ONE_OBJECT:
        refused = callers.call(method, path, callers.stranger, ids)
        assert refused.status_code == 404, f"{method} {path}: {refused.text}"
        assert refused.json()["error"]["code"].endswith("_not_found")
    for method, path in OF_ONE_OBJECT:  # and its owner finds all of it, unharmed
        found = callers.call(method, path, callers.owner, ids)
        assert found.status_code != 404, f"{method} {path}: {found.text}"


def test_lists_show_what_is_ones_own(callers: Callers, ids: dict[str, str]) -> None:
    for path in LISTS:
        if ("GET", path) not in FOR_ADMINS:
            assert callers.call("GET", path, callers.stranger).json()["data"] == [], path
            assert callers.call("GET", path, callers.owner).json()["data"] != [], path


def test_ids_of_another_project_are_not_there_as_arguments(callers: Callers, ids: dict[str, str]) -> None:
    api, stranger = callers.api, callers.stranger
    work = {"endpoint": "/v1/embeddings", "input_file_id": ids["file_id"], "completion_window": "24h"}
    [_, mine, _] = [key["id"] for key in api.get("/v1/keys", headers=callers.admin).json()["data"]]
    for path, after in (
        ("files", ids["file_id"]),
        ("batches", ids["batch_id"]),
        ("jobs", ids["job_id"]),
        ("webhook_endpoints", ids["endpoint_id"]),
        ("webhook_deliveries", ids["delivery_id"]),
    ):
        assert api.get(f"/v1/{path}", params={"after": after}, headers=stranger).status_code == 404, path
        assert api.get(f"/v1/{path}", params={"after": after}, headers=callers.owner).status_code == 200
    for path in ("jobs", "batches"):
        assert api.post(f"/v1/{path}", json=work, headers=stranger).status_code == 404
    assert api.get("/v1/usage", params={"key": mine}, headers=stranger).status_code == 404
    assert api.get("/v1/usage", params={"key": mine}, headers=callers.owner).status_code == 200


def needed_scope(method: str, path: str) -> str | None:
    """What a route asks for: looking takes `read`, all else `submit`."""
    if (method, path) in FOR_ANYBODY:
        return None
    if (method, path) in FOR_ADMINS:
        return "admin"
    return "read" if method == "GET" else "submit"


@pytest.mark.parametrize("scope", ["submit", "read", "admin"])
def test_a_key_may_do_what_its_scope_says_and_nothing_else(callers: Callers, scope: str) -> None:
    limited = callers.key(scopes=[scope])
    for method, path in ROUTES:
        reply = callers.call(method, path, limited, NO_IDS)
        if needed_scope(method, path) in (scope, None):
            assert reply.status_code not in (401, 403), f"{method} {path}: {reply.text}"
        else:
            assert (reply.status_code, reply.json()["error"]["code"]) == (403, "insufficient_scope"), path
            assert f"'{needed_scope(method, path)}'" in reply.json()["error"]["message"]


def test_no_route_but_three_answers_without_a_key(callers: Callers) -> None:
    for method, path in ROUTES:
        for headers in ({}, {"authorization": "Bearer by_wrong"}):
            status = callers.call(method, path, headers, NO_IDS).status_code
            assert (status == 401) is ((method, path) not in FOR_ANYBODY), path
