"""Webhooks through the official client: API, slot, dispatcher, deliverer and receiver, all real."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from store.webhooks import EVENT_TYPES
from tests.fixtures.processes import wait_until
from tests.fixtures.receiver import Answer, Receiver, receiving
from tests.fixtures.stack import Stack

SECONDS = 60.0


@pytest.fixture
def openai_client(hooked_stack: Stack) -> Iterator[OpenAI]:
    with hooked_stack.client() as client:
        yield client


@pytest.fixture
def http(hooked_stack: Stack) -> Iterator[httpx.Client]:
    """For what is ours, of which the official client knows nothing."""
    with httpx.Client(base_url=f"{hooked_stack.url}/v1", timeout=SECONDS, trust_env=False) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def batch(client: OpenAI, **extra: Any) -> str:
    """A batch of one item: its id."""
    wanted = {"requests": [{"body": {"input": "x"}}], "model": "echo", **extra}
    made = client.batches.create(
        endpoint="/v1/embeddings",
        input_file_id=openai.omit,
        completion_window="24h",
        extra_body=wanted,  # type: ignore[arg-type]
    )
    return made.id


def deliveries(http: httpx.Client, count: int, **filters: str) -> list[dict[str, Any]]:
    """The deliveries of a filter once there are `count`, none of them pending."""

    def found() -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = http.get("/webhook_deliveries", params=filters).json()["data"]
        return data

    def settled() -> bool:
        return len(found()) == count and all(one["state"] != "pending" for one in found())

    wait_until(settled, SECONDS, f"{count} deliveries of {filters}")
    return found()


def test_an_endpoint_is_made_listed_changed_and_deleted(openai_client: OpenAI, receiver: Receiver) -> None:
    hooks = openai_client.webhooks
    made = [
        hooks.create(name=f"n{n}", url=receiver.url, event_types=["batch.completed", "batch.failed"])
        for n in range(3)
    ]
    assert made[0].signing_secret.startswith("whsec_")
    assert str(made[0].signing_secret_hint).endswith(made[0].signing_secret[-4:])
    listed = [endpoint for endpoint in hooks.list(limit=2) if endpoint.id in {one.id for one in made}]
    assert [endpoint.id for endpoint in listed] == [one.id for one in made][::-1]
    assert not hasattr(listed[0], "signing_secret")
    found = hooks.retrieve(made[0].id)
    assert (found.name, found.url) == ("n0", receiver.url)
    assert hooks.update(made[0].id, name="n0").updated_at == found.updated_at
    changed = hooks.update(made[0].id, event_types=["response.completed"])
    assert (changed.name, changed.event_types) == ("n0", ["response.completed"])
    for one in made:
        assert hooks.delete(one.id).deleted
    with pytest.raises(openai.NotFoundError) as missing:
        hooks.retrieve(made[0].id)
    assert missing.value.code == "webhook_endpoint_not_found"


def test_the_event_types_are_those_that_an_endpoint_can_ask_for(
    openai_client: OpenAI, receiver: Receiver
) -> None:
    types = openai_client.webhooks.event_types.list().data
    assert types == list(EVENT_TYPES)
    made = openai_client.webhooks.create(name="all", url=receiver.url, event_types=types)  # type: ignore[arg-type]
    assert made.event_types == types
    openai_client.webhooks.delete(made.id)
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.webhooks.create(name="x", url=receiver.url, event_types=["eval.run.failed"])
    assert (refused.value.code, refused.value.param) == ("invalid_value", "event_types[0]")


def test_a_test_event_arrives_at_once_and_verifies(openai_client: OpenAI, receiver: Receiver) -> None:
    hooks = openai_client.webhooks
    made = hooks.create(name="t", url=receiver.url, event_types=["batch.completed"])
    result = hooks.test(made.id, event_type="batch.expired")
    assert (result.success, result.status_code, result.event_type) == (True, 204, "batch.expired")
    (received,) = receiver.got
    event = hooks.unwrap(received.body, received.headers, secret=made.signing_secret)
    assert event.type == "batch.expired"
    receiver.answers(500)
    assert hooks.test(made.id, event_type="batch.failed").status_code == 500
    receiver.answer = lambda received: Answer(302, {"location": "http://169.254.169.254/"})
    assert hooks.test(made.id, event_type="batch.failed").status_code == 302
    hooks.delete(made.id)


def test_a_test_event_that_reaches_nobody_says_why(openai_client: OpenAI) -> None:
    with receiving() as gone:
        url = gone.url
    made = openai_client.webhooks.create(name="gone", url=url, event_types=["batch.completed"])
    with pytest.raises(openai.BadRequestError, match="did not arrive: no answer") as failed:
        openai_client.webhooks.test(made.id, event_type="batch.completed")
    assert failed.value.code == "webhook_test_failed"
    openai_client.webhooks.delete(made.id)


def test_after_a_rotation_both_secrets_verify_only_if_the_old_one_is_kept(
    openai_client: OpenAI, receiver: Receiver
) -> None:
    hooks = openai_client.webhooks
    first = hooks.create(name="r", url=receiver.url, event_types=["batch.completed"])
    second = hooks.rotate_secret(first.id, keep_old_secret_active_for_24_hours=True)
    hooks.test(first.id, event_type="batch.completed")
    third = hooks.rotate_secret(first.id)
    hooks.test(first.id, event_type="batch.completed")
    kept, alone = receiver.got
    for secret in (first.signing_secret, second.signing_secret):
        hooks.unwrap(kept.body, kept.headers, secret=secret)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            hooks.unwrap(alone.body, alone.headers, secret=secret)
    hooks.unwrap(alone.body, alone.headers, secret=third.signing_secret)
    hooks.delete(first.id)


def test_a_batch_tells_its_endpoint_and_its_own_url(
    openai_client: OpenAI, http: httpx.Client, receiver: Receiver
) -> None:
    hooks = openai_client.webhooks
    made = hooks.create(name="b", url=receiver.url + "/endpoint", event_types=["batch.completed"])
    batch_id = batch(openai_client, webhook_url=receiver.url + "/job")
    told = deliveries(http, 2, job=batch_id)
    assert {one["state"] for one in told} == {"delivered"}
    secrets = {
        "/endpoint": made.signing_secret,
        "/job": http.get("/webhook_secret").json()["signing_secret"],
    }
    assert {received.path for received in receiver.wait_for(2)} == secrets.keys()
    for received in receiver.got:
        event = hooks.unwrap(received.body, received.headers, secret=secrets[received.path])
        assert isinstance(event, openai.types.webhooks.BatchCompletedWebhookEvent)
        assert event.data.id == batch_id
    (of_endpoint,) = http.get(f"/webhook_endpoints/{made.id}/deliveries").json()["data"]
    assert of_endpoint["webhook_endpoint_id"] == made.id
    hooks.delete(made.id)


def test_metadata_names_a_receiver_where_a_client_allows_no_other_field(
    openai_client: OpenAI, http: httpx.Client, receiver: Receiver
) -> None:
    job = http.post(
        "/jobs",
        json={
            "endpoint": "/v1/embeddings",
            "model": "echo",
            "requests": [{"body": {"input": "x"}}],
            "metadata": {"webhook_url": receiver.url},
        },
    ).json()["id"]
    deliveries(http, 1, job=job)
    secret = http.get("/webhook_secret").json()["signing_secret"]
    event = openai_client.webhooks.unwrap(receiver.got[0].body, receiver.got[0].headers, secret=secret)
    assert (event.type, event.data.id) == ("job.completed", job)  # type: ignore[comparison-overlap]


def test_a_delivery_shows_its_attempts_and_is_replayed_under_the_same_id(
    openai_client: OpenAI, http: httpx.Client, receiver: Receiver
) -> None:
    receiver.answers(410)
    made = openai_client.webhooks.create(name="p", url=receiver.url, event_types=["batch.completed"])
    batch_id = batch(openai_client)
    (failed,) = deliveries(http, 1, job=batch_id)
    assert (failed["state"], failed["status_code"], failed["error"]) == ("disabled", 410, "answered with 410")
    endpoint = http.get(f"/webhook_endpoints/{made.id}").json()
    assert (endpoint["enabled"], "410" in endpoint["disabled_reason"]) == (False, True)
    for path in (f"/webhook_deliveries/{failed['id']}", f"/webhook_endpoints/{made.id}"):
        refused = http.post(f"{path}/replay")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "webhook_endpoint_disabled")
    assert http.post(f"/webhook_endpoints/{made.id}", json={"enabled": True}).json()["enabled"]
    assert http.post(f"/webhook_endpoints/{made.id}/replay").json()["deliveries"] == 1
    deliveries(http, 1, job=batch_id, state="delivered")
    assert http.post(f"/webhook_deliveries/{failed['id']}/replay").json()["state"] == "pending"
    receiver.wait_for(3)
    deliveries(http, 1, job=batch_id, state="delivered")
    shown = http.get(f"/webhook_deliveries/{failed['id']}").json()
    assert [attempt["status_code"] for attempt in shown["attempts"]] == [410, 204, 204]
    assert len({received.event_id for received in receiver.got}) == 1
    openai_client.webhooks.delete(made.id)
    assert http.get(f"/webhook_deliveries/{failed['id']}").status_code == 404


def test_a_disabled_endpoint_is_told_nothing(
    openai_client: OpenAI, http: httpx.Client, receiver: Receiver
) -> None:
    made = openai_client.webhooks.create(name="d", url=receiver.url, event_types=["batch.completed"])
    changed = http.post(f"/webhook_endpoints/{made.id}", json={"enabled": False}).json()
    assert changed["disabled_reason"] == "disabled by its owner"
    batch_id = batch(openai_client, webhook_url=receiver.url + "/job")
    assert len(deliveries(http, 1, job=batch_id)) == 1
    openai_client.webhooks.delete(made.id)


def test_the_projects_secret_is_rotated(http: httpx.Client) -> None:
    first = http.get("/webhook_secret").json()
    assert http.get("/webhook_secret").json() == first
    kept = http.post("/webhook_secret/rotate", json={"keep_old_secret_active_for_24_hours": True}).json()
    assert kept["signing_secret"] != first["signing_secret"]
    assert kept["old_secret_expires_at"] is not None
    alone = http.post("/webhook_secret/rotate").json()
    assert alone["old_secret_expires_at"] is None
    assert http.get("/webhook_secret").json() == alone


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "https://localhost/x",
        "https://169.254.169.254/latest",
        "https://2130706433/",
        "https://[::ffff:127.0.0.1]/",
        "https://10.1.2.3/",
        "http://93.184.216.34/",
        "https://nowhere.invalid/",
        "nonsense",
    ],
)
@pytest.mark.parametrize("where", ["endpoint", "batch", "job", "call", "metadata"])
def test_a_url_that_may_not_be_sent_to_is_refused_at_once(client: OpenAI, url: str, where: str) -> None:
    work = {"endpoint": "/v1/embeddings", "model": "echo", "requests": [{"body": {"input": "x"}}]}
    asks: dict[str, tuple[str, dict[str, Any], str]] = {
        "endpoint": (
            "/webhook_endpoints",
            {"name": "x", "url": url, "event_types": ["batch.completed"]},
            "url",
        ),
        "batch": ("/batches", {**work, "completion_window": "24h", "webhook_url": url}, "webhook_url"),
        "job": ("/jobs", {**work, "webhook_url": url}, "webhook_url"),
        "call": ("/embeddings", {"model": "echo", "input": "x", "webhook_url": url}, "webhook_url"),
        "metadata": ("/jobs", {**work, "metadata": {"webhook_url": url}}, "metadata.webhook_url"),
    }
    path, body, param = asks[where]
    with pytest.raises(openai.BadRequestError) as refused:
        client.post(path, body=body, cast_to=object)
    assert (refused.value.code, refused.value.param) == ("invalid_webhook_url", param)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/webhook_endpoints/we_unknown"),
        ("GET", "/webhook_endpoints/%00"),
        ("POST", "/webhook_endpoints/we_unknown/replay"),
        ("GET", "/webhook_endpoints?after=we_unknown"),
        ("GET", "/webhook_deliveries/delivery_99999999999999999999"),
        ("GET", "/webhook_deliveries/delivery_0"),
        ("GET", "/webhook_deliveries/x%00"),
        ("POST", "/webhook_deliveries/12/replay"),
        ("GET", "/webhook_deliveries?after=delivery_x"),
    ],
)
def test_what_is_not_there_is_not_found(stack: Stack, method: str, path: str) -> None:
    answer = httpx.request(method, f"{stack.url}/v1{path}", trust_env=False, timeout=SECONDS)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "a\x00b"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"event_types": []}, "event_types"),
        ({"url": 5}, "url"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(stack: Stack, body: dict[str, Any], param: str) -> None:
    good = {"name": "n", "url": "https://127.0.0.1/", "event_types": ["batch.completed"]}
    answer = httpx.post(
        f"{stack.url}/v1/webhook_endpoints", json=good | body, trust_env=False, timeout=SECONDS
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
