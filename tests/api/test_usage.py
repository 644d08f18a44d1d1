"""`/v1/usage`: what keys have used, of their own project or of all; batch items and calls alike."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from store import lifecycle
from store.db import connect
from store.embedded.services import EmbeddedServices
from tests.fixtures.batches import line, run, upload
from tests.fixtures.stack import Stack, running_stack

ADMIN = "by_the_key_that_the_service_starts_with"


@pytest.fixture(scope="module")
def keyed(database_factory: Callable[[], str], open_folder: Path) -> Iterator[Stack]:
    """A service that has keys, so that others' jobs are not in the sums."""
    url = database_factory()
    with (
        EmbeddedServices(open_folder / "usage-redis", database_url=url, durable=False) as own,
        running_stack(open_folder / "usage", url, own.redis_url, api_key=ADMIN) as started,
    ):
        yield started


def http(keyed: Stack, secret: str = ADMIN) -> httpx.Client:
    return httpx.Client(base_url=f"{keyed.url}/v1", headers={"authorization": f"Bearer {secret}"}, timeout=30)


def new_key(keyed: Stack, **fields: Any) -> dict[str, Any]:
    with http(keyed) as admin:
        made: dict[str, Any] = admin.post("/keys", json={"name": "test", **fields}).json()
    return made


def test_a_batch_and_a_call_are_counted_and_stay_so_when_they_are_deleted(keyed: Stack) -> None:
    key = new_key(keyed, project="measured")
    lines = [line(f"n{n}", {"model": "echo", "input": "one two three"}) for n in range(20)]
    lines.append(line("bad", {"model": "echo", "input": ""}))
    with OpenAI(base_url=f"{keyed.url}/v1", api_key=key["key"], max_retries=0) as client:
        batch = run(client, upload(client, lines))
        answer = client.embeddings.create(model="echo", input="one two three")
    assert batch.status == "completed"
    assert batch.usage is not None

    with http(keyed, key["key"]) as mine, http(keyed) as admin:
        asked = {"group_by": ["key", "endpoint"]}
        [used] = mine.get("/usage", params=asked).json()["data"]
        assert (used["key"], used["key_name"], used["project"]) == (key["id"], "test", "measured")
        assert (used["endpoint"], used["day"]) == ("/v1/embeddings", None)
        assert (used["items"], used["errors"]) == (22, 1)
        assert used["tokens"] == batch.usage.total_tokens + answer.usage.total_tokens
        assert (used["audio_seconds"], used["images"]) == (0, 0)

        with connect(keyed.database_url, name="test") as conn:
            conn.execute("UPDATE job SET ended_at = now() - interval '1 hour'")
            deleted = [lifecycle.delete_ended(conn, view, 60) for view in ("batch", "call")]
        assert deleted == [1, 1]
        assert mine.get("/usage", params=asked).json()["data"] == [used]
        assert admin.get("/usage", params=asked).json()["data"] == []  # its own project has used nothing
        assert admin.get("/usage", params={**asked, "all": "true"}).json()["data"] == [used]
        one = {"all": "true", "key": key["id"]}
        assert [sums["items"] for sums in admin.get("/usage", params=one).json()["data"]] == [22]


def test_a_sum_of_all_projects_takes_an_admin(keyed: Stack) -> None:
    with http(keyed, new_key(keyed)["key"]) as reader:
        refused = reader.get("/usage", params={"all": "true"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, "all")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"start": "2026-01-01", "end": "2026-01-01"}, 200),
        ({"start": "0001-01-01", "end": "9999-12-31"}, 200),
        ({"end": "0001-01-02"}, 200),
        ({"start": "2026-01-02", "end": "2026-01-01"}, 400),
        ({"start": "yesterday"}, 400),
        ({"start": "2026-02-30"}, 400),
        ({"group_by": "colour"}, 400),
        ({"key": "key_\0"}, 400),
        ({"key": "key_" + "0" * 32}, 404),
    ],
)
def test_what_cannot_be_asked_is_said(keyed: Stack, asked: dict[str, str], status: int) -> None:
    with http(keyed) as admin:
        assert admin.get("/usage", params=asked).status_code == status


def test_a_wrong_value_of_several_is_named_by_its_place(keyed: Stack) -> None:
    with http(keyed) as admin:
        error = admin.get("/usage", params={"group_by": ["key", "colour"]}).json()["error"]
    assert error["param"] == "group_by[1]"


def test_without_grouping_there_is_one_sum_even_of_nothing(keyed: Stack) -> None:
    with http(keyed) as admin:
        found = admin.get("/usage", params={"start": "2020-01-01", "end": "2020-01-02"}).json()
    assert (found["start"], found["end"]) == ("2020-01-01", "2020-01-02")
    [nothing] = found["data"]
    assert (nothing["items"], nothing["cpu_seconds"], nothing["key"]) == (0, 0, None)
