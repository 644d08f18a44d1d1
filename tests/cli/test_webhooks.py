"""`batchyard webhooks` against a real service with a deliverer and a receiver."""

import json
from collections.abc import Iterator

import pytest
import standardwebhooks

from cli.exit_codes import ExitCode
from tests.cli.conftest import Run
from tests.fixtures.processes import wait_until
from tests.fixtures.receiver import Receiver, receiving
from tests.fixtures.stack import Stack


@pytest.fixture
def receiver(hooked_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver, and commands that talk to the service which may send to it."""
    monkeypatch.setenv("BATCHYARD_URL", hooked_stack.url)
    monkeypatch.delenv("BATCHYARD_API_KEY", raising=False)
    with receiving() as receiver:
        yield receiver


def delivered(run: Run, endpoint: str, state: str) -> list[dict[str, str]]:
    shown = run("webhooks", "deliveries", endpoint, "--state", state, "--json")
    found: list[dict[str, str]] = json.loads(shown.out)
    return found


def test_a_receiver_is_registered_tested_told_and_deleted(
    run: Run, receiver: Receiver, hooked_stack: Stack
) -> None:
    made = json.loads(run("webhooks", "create", receiver.url, "--event", "batch.completed", "--json").out)
    endpoint = made["id"]
    assert (
        f"{endpoint}  {receiver.url.removeprefix('http://')}  {receiver.url}" in run("webhooks", "list").out
    )
    tested = run("webhooks", "test", endpoint)
    assert (tested.code, "batch.completed: answered with 204" in tested.out) == (ExitCode.OK, True)
    received = receiver.got[0]
    standardwebhooks.Webhook(made["signing_secret"]).verify(received.body, received.headers)
    receiver.answers(500, 410)
    assert run("webhooks", "test", endpoint).code == ExitCode.FAILED
    with hooked_stack.client() as client:
        batch = client.post(
            "/batches",
            body={"endpoint": "/v1/embeddings", "model": "echo", "completion_window": "24h",
                  "requests": [{"body": {"input": "x"}}]},
            cast_to=object,
        )  # fmt: skip
    wait_until(lambda: bool(delivered(run, endpoint, "disabled")), 60, "the receiver answers with 410")
    (delivery,) = delivered(run, endpoint, "disabled")
    assert delivery["job_id"] == batch["id"]  # type: ignore[index]
    line = run("webhooks", "deliveries", "--job", delivery["job_id"]).out
    assert "disabled  batch.completed" in line
    assert "1 attempts, the last: answered with 410" in line
    refused = run("webhooks", "replay", delivery["id"])
    assert (refused.code, "enable it first" in refused.err) == (ExitCode.FAILED, True)
    assert run("webhooks", "enable", endpoint).out == f"enabled {endpoint}\n"
    assert run("webhooks", "replay", endpoint).out == "1 delivery is sent again\n"
    wait_until(lambda: bool(delivered(run, endpoint, "delivered")), 60, "the delivery arrives")
    assert run("webhooks", "delete", endpoint).out == f"deleted {endpoint}\n"
    assert endpoint not in run("webhooks", "list").out


def test_the_projects_secret_is_shown_and_rotated(run: Run, receiver: Receiver) -> None:
    first = run("webhooks", "secret").out
    assert first.startswith("whsec_")
    assert run("webhooks", "secret").out == first
    second = run("webhooks", "secret", "--rotate", "--keep-old").out
    assert second != first
    assert run("webhooks", "secret").out == second


def test_a_url_that_may_not_be_sent_to_is_one_line(run: Run, receiver: Receiver) -> None:
    refused = run("webhooks", "create", "https://169.254.169.254/x")
    assert (refused.code, refused.err.count("\n")) == (ExitCode.FAILED, 1)
    assert "BATCHYARD_WEBHOOK_ALLOW" in refused.err


def test_keeping_the_old_secret_without_a_new_one_is_refused(run: Run) -> None:
    refused = run("webhooks", "secret", "--keep-old")
    assert (refused.code, "--rotate" in refused.err) == (ExitCode.USAGE, True)
