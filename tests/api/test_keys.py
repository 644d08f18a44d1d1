"""`/v1/keys`: made once, shown once, listed without their secrets, revoked for good."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from configs.settings import Settings

BOOTSTRAP = "sk-bootstrap-of-some-length"


@pytest.fixture
def api(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """An API on loopback whose database has no key."""
    settings = Settings(home=tmp_path, database_url=database_url, redis_url=redis_url)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def admin(api: TestClient) -> TestClient:
    """The API, called with its first key."""
    made = api.post("/v1/keys", json={"name": "first"}).json()
    api.headers["authorization"] = f"Bearer {made['key']}"
    return api


def with_key(api: TestClient, **fields: Any) -> dict[str, str]:
    """Headers of a new key."""
    made = api.post("/v1/keys", json={"name": "test", **fields})
    assert made.status_code == 200, made.text
    return {"authorization": f"Bearer {made.json()['key']}"}


def test_the_first_key_closes_the_door_at_once_and_says_so(api: TestClient) -> None:
    assert api.get("/v1/files").status_code == 200
    assert api.get("/v1/files", headers={"authorization": "Bearer any"}).status_code == 200
    made = api.post("/v1/keys", json={"name": "first"}).json()
    assert "from now on every call needs one" in made["note"]
    assert made["scopes"] == ["submit", "read", "admin"]
    for headers in ({}, {"authorization": "Bearer any"}):
        assert api.get("/v1/files", headers=headers).status_code == 401
    assert api.get("/v1/files", headers={"authorization": f"Bearer {made['key']}"}).status_code == 200


def test_a_first_key_that_could_make_no_other_is_refused(api: TestClient) -> None:
    refused = api.post("/v1/keys", json={"name": "first", "scopes": ["submit", "read"]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "scopes")
    assert api.get("/v1/keys").json()["data"] == []


def test_a_key_is_shown_once_and_nowhere_kept(admin: TestClient, database_url: str) -> None:
    wanted = {
        "name": "night run", "project": "search", "scopes": ["read", "submit"], "requests_per_minute": 60,
        "max_queued_items": 1000, "priority_cap": 10, "weight": 2.5,
    }  # fmt: skip
    made = admin.post("/v1/keys", json=wanted).json()
    secret, note = made.pop("key"), made.pop("note")
    assert secret.startswith("by_")
    assert len(secret) == 43
    assert note is None
    assert made | wanted | {"scopes": ["submit", "read"]} == made
    assert made["hint"] == secret[-4:]
    assert admin.get(f"/v1/keys/{made['id']}").json() == made
    assert made in admin.get("/v1/keys").json()["data"]
    with psycopg.connect(database_url) as conn:
        rows = conn.execute("SELECT api_key::text FROM api_key").fetchall()
    assert len(rows) == 3  # with `anonymous`
    assert not any(secret[3:] in row or secret.encode().hex() in row for (row,) in rows)


def test_keys_are_listed_in_pages_without_the_anonymous_one(admin: TestClient) -> None:
    for n in range(4):
        with_key(admin, name=f"key {n}")
    names: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = admin.get("/v1/keys", params={"limit": 2, **after}).json()
        names += [key["name"] for key in page["data"]]
        assert all("key" not in key for key in page["data"])
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert names == ["key 3", "key 2", "key 1", "key 0", "first"]


def test_a_revoked_key_is_refused_at_once_for_good(admin: TestClient) -> None:
    headers = with_key(admin)
    key_id = admin.get("/v1/keys").json()["data"][0]["id"]
    assert admin.get("/v1/files", headers=headers).status_code == 200
    first = admin.delete(f"/v1/keys/{key_id}").json()
    assert first["revoked_at"] is not None
    assert admin.get("/v1/files", headers=headers).status_code == 401
    assert admin.delete(f"/v1/keys/{key_id}").json() == first
    assert admin.get(f"/v1/keys/{key_id}").json()["revoked_at"] == first["revoked_at"]


def test_revoking_the_last_key_says_what_follows(api: TestClient) -> None:
    first = api.post("/v1/keys", json={"name": "first"}).json()
    admin = {"authorization": f"Bearer {first['key']}"}
    other = api.post("/v1/keys", json={"name": "other"}, headers=admin).json()
    assert api.delete(f"/v1/keys/{other['id']}", headers=admin).json()["note"] is None
    assert (
        "whoever reaches this address may call"
        in (api.delete(f"/v1/keys/{first['id']}", headers=admin).json()["note"])
    )
    assert api.get("/v1/files").status_code == 200


def test_revoking_the_last_admin_says_how_to_get_one(admin: TestClient) -> None:
    with_key(admin)
    [_, first] = admin.get("/v1/keys").json()["data"]
    assert "BATCHYARD_API_KEY" in admin.delete(f"/v1/keys/{first['id']}").json()["note"]


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x", "project": "a b"}, "project"),
        ({"name": "x", "project": "search\n"}, "project"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes"),
        ({"name": "x", "requests_per_minute": 0}, "requests_per_minute"),
        ({"name": "x", "max_queued_items": -1}, "max_queued_items"),
        ({"name": "x", "priority_cap": 101}, "priority_cap"),
        ({"name": "x", "weight": 0}, "weight"),
        ({"name": "x", "limit": 1}, "limit"),
    ],
)
def test_what_cannot_be_is_refused_by_name(admin: TestClient, wanted: dict[str, Any], param: str) -> None:
    refused = admin.post("/v1/keys", json=wanted)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"].startswith(param)
    assert len(admin.get("/v1/keys").json()["data"]) == 1


@pytest.mark.parametrize("key_id", ["key_" + "0" * 32, "key_", "nothing", "%00", "key_" + "0" * 1000])
def test_unknown_ids_are_not_found(admin: TestClient, key_id: str) -> None:
    for method in ("GET", "DELETE"):
        refused = admin.request(method, f"/v1/keys/{key_id}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "api_key_not_found")


def test_a_key_is_limited_in_its_requests_per_minute(admin: TestClient) -> None:
    headers = with_key(admin, requests_per_minute=2)
    replies = [admin.get("/v1/files", headers=headers) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["1", "0", "0"]
    assert replies[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(replies[2].headers["retry-after"]) <= 60
    assert "x-ratelimit-limit-requests" not in admin.get("/v1/files").headers


def test_keys_of_one_project_share_it(admin: TestClient) -> None:
    one, two = with_key(admin, project="search"), with_key(admin, project="search")
    stored = admin.post(
        "/v1/files", headers=one, files={"file": ("a.txt", b"text")}, data={"purpose": "user_data"}
    ).json()
    assert admin.get(f"/v1/files/{stored['id']}", headers=two).status_code == 200
    assert admin.get(f"/v1/files/{stored['id']}").status_code == 404  # of the project `default`


def test_no_job_of_a_key_goes_over_its_priority_cap(admin: TestClient) -> None:
    headers = with_key(admin, priority_cap=-5)
    work = {"endpoint": "/v1/embeddings", "model": "echo", "requests": [{"body": {"input": "x"}}]}
    for asked, given in ((50, -5), (0, -5), (-7, -7)):
        made = admin.post("/v1/jobs", json={**work, "priority": asked}, headers=headers).json()
        assert made["priority"] == given
    call = admin.post(
        "/v1/embeddings", json={"model": "echo", "input": "x"}, headers={**headers, "prefer": "respond-async"}
    )
    assert call.json()["priority"] == -5
