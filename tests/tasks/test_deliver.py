"""The deliverer with a real Postgres, Redis and receiver: what is sent, when again, and when no more."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import openai
import psycopg
import pytest
import standardwebhooks
from openai import OpenAI

from store import attempts, deliveries, webhooks
from store.attempts import MOST_PER_RECEIVER
from store.states import DeliveryState
from tasks.signals import DELIVER, connect
from tests.fixtures.processes import wait_until
from tests.fixtures.receiver import Answer, Received, Receiver, receiving
from tests.tasks.deliverer import NEVER_AGAIN, SOON, Deliveries, delivering

Delivering = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def events(database_url: str) -> Deliveries:
    return Deliveries(database_url)


@pytest.fixture
def run_deliverer(database_url: str, redis_url: str, tmp_path: Path) -> Delivering:
    return partial(delivering, database_url, redis_url, tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def verified_by(secret: str, received: Received) -> bool:
    """Whether both the official client and the reference library take it; they must agree."""
    client = OpenAI(api_key="any", base_url="http://127.0.0.1:9")
    try:
        event = client.webhooks.unwrap(received.body, received.headers, secret=secret)
        by_openai = True
        assert event.id == received.event_id
    except openai.InvalidWebhookSignatureError:
        by_openai = False
    try:
        standardwebhooks.Webhook(secret).verify(received.body, received.headers)
        by_reference = True
    except standardwebhooks.WebhookVerificationError:
        by_reference = False
    assert by_openai == by_reference
    return by_openai


def test_an_event_arrives_signed_so_that_both_libraries_verify_it(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    endpoint = events.endpoint(receiver.url + "/hook?token=1")
    delivery = events.event(endpoint=endpoint)
    with run_deliverer():
        row = events.wait_for_state(delivery, "delivered")
    (received,) = receiver.got
    assert received.path == "/hook?token=1"
    assert received.headers["content-type"] == "application/json"
    assert verified_by(endpoint.secret, received)
    assert not verified_by(webhooks.new_secret(), received)
    client = OpenAI(api_key="any")
    event = client.webhooks.unwrap(received.body, received.headers, secret=endpoint.secret)
    assert isinstance(event, openai.types.webhooks.BatchCompletedWebhookEvent)
    assert (event.id, event.data.id) == (row.event_id, "batch_x")
    (attempt,) = events.attempts(delivery)
    assert (attempt.status_code, attempt.error, row.status_code, row.tries) == (204, None, 204, 1)
    assert attempt.latency_ms >= 0


def test_the_url_of_a_job_is_signed_with_the_projects_secret_which_is_made_at_need(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    delivery = events.event(url=receiver.url)
    with run_deliverer():
        events.wait_for_state(delivery, "delivered")
    secret = events.run(lambda conn: webhooks.project_secret(conn, 1)).secret
    assert verified_by(secret, receiver.got[0])


@pytest.mark.parametrize("keep_old", [True, False])
def test_after_a_rotation_the_old_secret_verifies_only_if_it_was_kept(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering, keep_old: bool
) -> None:
    endpoint = events.endpoint(receiver.url)
    rotated = events.run(lambda conn: webhooks.rotate(conn, endpoint.id, 1, keep_old=keep_old))
    assert rotated is not None
    delivery = events.event(endpoint=endpoint)
    with run_deliverer():
        events.wait_for_state(delivery, "delivered")
    assert verified_by(rotated.secret, receiver.got[0])
    assert verified_by(endpoint.secret, receiver.got[0]) is keep_old


def test_an_old_secret_no_longer_signs_after_its_day(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    endpoint = events.endpoint(receiver.url)
    events.run(lambda conn: webhooks.rotate(conn, endpoint.id, 1, keep_old=True))
    with psycopg.connect(events.url) as conn:
        conn.execute("UPDATE webhook_endpoint SET old_secret_until = now() - interval '1 second'")
    delivery = events.event(endpoint=endpoint)
    with run_deliverer():
        events.wait_for_state(delivery, "delivered")
    assert not verified_by(endpoint.secret, receiver.got[0])


@pytest.mark.parametrize("status", [302, 400, 500])
def test_a_failure_is_tried_again_with_the_same_id_and_body_and_a_new_signature(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering, status: int
) -> None:
    endpoint = events.endpoint(receiver.url)
    receiver.answers(status, status)
    delivery = events.event(endpoint=endpoint)
    with run_deliverer(schedule=(0.0, 1.1, 0.05, 0.05)):  # past a second, which is what a timestamp tells
        events.wait_for_state(delivery, "delivered")
    first, second, third = receiver.got
    assert first.event_id == second.event_id == third.event_id
    assert first.body == second.body == third.body
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert all(verified_by(endpoint.secret, received) for received in receiver.got)
    assert [attempt.status_code for attempt in events.attempts(delivery)] == [status, status, 204]
    assert events.endpoint_now(endpoint).failing_since is None


def test_a_redirect_is_not_followed(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    with receiving() as inside:
        receiver.answer = lambda received: Answer(307, {"location": inside.url})
        delivery = events.event(url=receiver.url)
        with run_deliverer():
            row = events.wait_for_state(delivery, "exhausted")
        assert inside.got == []
    assert row.error == "answered with 307; redirects are not followed"


def test_when_the_schedule_is_over_it_is_exhausted_and_a_replay_begins_anew(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    receiver.answers(*[500] * len(SOON))
    endpoint = events.endpoint(receiver.url)
    delivery = events.event(endpoint=endpoint)
    with run_deliverer():
        row = events.wait_for_state(delivery, "exhausted")
        assert (row.tries, row.error) == (len(SOON), "answered with 500")
        assert events.endpoint_now(endpoint).failing_since is not None
        assert events.run(lambda conn: deliveries.replay_failed(conn, endpoint.id)) == 1
        events.wait_for_state(delivery, "delivered")
    assert len({received.event_id for received in receiver.got}) == 1
    assert len(events.attempts(delivery)) == len(SOON) + 1


def test_410_disables_the_endpoint_and_what_still_waits_for_it(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    endpoint = events.endpoint(receiver.url)
    told = events.event(endpoint=endpoint)
    waiting = events.event(endpoint=endpoint)
    with psycopg.connect(events.url) as conn:
        conn.execute("UPDATE delivery SET next_at = now() + interval '1 hour' WHERE id = %s", (waiting,))
    receiver.answers(410)
    with run_deliverer():
        events.wait_for_state(told, "disabled")
        events.wait_for_state(waiting, "disabled")
    assert len(receiver.got) == 1
    now = events.endpoint_now(endpoint)
    assert (now.enabled, now.disabled_reason) == (
        False,
        "The receiver answered with 410: it takes no more events.",
    )


def test_an_endpoint_at_which_all_has_failed_for_five_days_is_disabled_and_says_so(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    endpoint = events.endpoint(receiver.url)

    def fail_after(age: str) -> None:
        with psycopg.connect(events.url) as conn:
            conn.execute(
                "UPDATE webhook_endpoint SET failing_since = now() - %s::interval WHERE id = %s",
                (age, endpoint.id),
            )
        receiver.answers(500)
        delivery = events.event(endpoint=endpoint)
        with run_deliverer(schedule=(0.0,)):
            wait_until(lambda: bool(events.attempts(delivery)), 60, "an attempt")

    fail_after("4 days")
    assert events.endpoint_now(endpoint).enabled
    fail_after("6 days")
    reason = events.endpoint_now(endpoint).disabled_reason
    assert reason == "Every attempt has failed for 6 days; last: answered with 500."


def test_retry_after_holds_back_the_delivery_and_all_else_for_its_receiver(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    endpoint = events.endpoint(receiver.url)
    receiver.answer = lambda received: Answer(429, {"retry-after": "1800"})
    first = events.event(endpoint=endpoint)
    with receiving() as other, run_deliverer():
        wait_until(lambda: bool(events.attempts(first)), 60, "an attempt")
        events.event(endpoint=endpoint)
        events.wait_for_state(events.event(url=other.url), "delivered")  # the deliverer has looked again
    assert len(receiver.got) == 1
    with psycopg.connect(events.url) as conn:
        row = conn.execute("SELECT extract(epoch FROM next_at - now()) FROM delivery ORDER BY id").fetchone()
    assert row is not None
    assert 1700 < row[0] <= 1800


def test_a_slow_receiver_has_two_attempts_at_a_time_and_delays_no_other(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    go_on = threading.Event()
    receiver.answer = lambda received: Answer(204, hold=go_on)
    slow = [events.event(url=f"{receiver.url}/{n}") for n in range(40)]
    with receiving() as quick, run_deliverer(), run_deliverer():  # two deliverers share one bound
        receiver.wait_for(MOST_PER_RECEIVER)
        for _ in range(5):
            events.wait_for_state(events.event(url=quick.url), "delivered")
        assert len(receiver.got) == MOST_PER_RECEIVER
        go_on.set()
        for delivery in slow:
            events.wait_for_state(delivery, "delivered")
    assert len(receiver.got) == len(slow)


def test_a_receiver_that_never_answers_is_given_up_in_time(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    receiver.answer = lambda received: Answer(hold=threading.Event())
    delivery = events.event(url=receiver.url)
    with run_deliverer(answer_seconds=0.2, schedule=(0.0,)):
        row = events.wait_for_state(delivery, "exhausted")
    assert (row.status_code, row.error) == (None, "no answer within 0.2 s")


def test_a_body_without_end_is_not_read_to_its_end(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    receiver.answer = lambda received: Answer(200, endless=True)
    delivery = events.event(url=receiver.url)
    with run_deliverer():
        assert events.wait_for_state(delivery, "delivered").status_code == 200


def test_a_receiver_whose_address_is_no_longer_allowed_gets_nothing(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    delivery = events.event(url=receiver.url)
    with run_deliverer(allow="10.0.0.0/8", schedule=(0.0,)):
        row = events.wait_for_state(delivery, "exhausted")
    assert "127.0.0.1, which is not public" in str(row.error)
    assert receiver.got == []


def test_an_event_for_an_endpoint_that_was_disabled_meanwhile_is_not_sent(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    endpoint = events.endpoint(receiver.url)
    events.run(lambda conn: webhooks.disable(conn, endpoint.id, "for a reason"))
    delivery = events.event(endpoint=endpoint)
    with run_deliverer():
        events.wait_for_state(delivery, "disabled")
    assert receiver.got == []


def test_an_attempt_whose_lease_was_taken_over_records_nothing(events: Deliveries) -> None:
    delivery = events.event(url="http://127.0.0.1:9/")
    went = attempts.Attempted(
        state=DeliveryState.DELIVERED, delay_seconds=0, status_code=200, latency_ms=1, error=None
    )

    async def race(conn: psycopg.AsyncConnection) -> tuple[float | None, float | None]:
        (stale,) = await attempts.claim(conn, room=9, lease_seconds=-1)
        (holder,) = await attempts.claim(conn, room=9, lease_seconds=60)
        assert await attempts.claim(conn, room=9, lease_seconds=60) == []
        return await attempts.record(conn, stale, went), await attempts.record(conn, holder, went)

    assert events.run(race) == (None, 0.0)
    assert len(events.attempts(delivery)) == 1


def test_a_deliverer_that_stops_gives_back_what_it_could_not_finish(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    receiver.answer = lambda received: Answer(hold=threading.Event())
    events.event(url=receiver.url)
    with run_deliverer():
        receiver.wait_for(1)
    held = events.run(lambda conn: attempts.claim(conn, room=9, lease_seconds=60))
    assert len(held) == 1


def test_a_poke_is_heard_at_once(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering, redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("tasks.deliver.LOOK_SECONDS", 3600.0)
    with run_deliverer(), connect(redis_url) as client:
        first = events.event(url=receiver.url)
        wait_until(lambda: client.publish(DELIVER, b"") > 0, 60, "a deliverer listens")
        events.wait_for_state(first, "delivered")  # it may have looked when it started
        for _ in range(3):
            delivery = events.event(url=receiver.url)
            client.publish(DELIVER, b"")
            events.wait_for_state(delivery, "delivered")


def test_it_waits_for_postgres_and_goes_on(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    """Its connections are ended by the server in the middle of an attempt, as at a restart."""
    go_on = threading.Event()
    receiver.answer = lambda received: Answer(hold=go_on)
    first = events.event(url=receiver.url)
    with run_deliverer(schedule=NEVER_AGAIN):
        receiver.wait_for(1)
        with psycopg.connect(events.url) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = %s AND datname = current_database()",
                (deliveries.DELIVERER,),
            )
        go_on.set()
        events.wait_for_state(first, "delivered")
        events.wait_for_state(events.event(url=receiver.url), "delivered")
    assert len(receiver.got) == 2


def test_old_events_go_with_their_deliveries_unless_they_are_pending(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    told = events.event(url=receiver.url)
    with run_deliverer():
        events.wait_for_state(told, "delivered")
    waiting = events.event(url=receiver.url)
    with psycopg.connect(events.url) as conn:
        assert deliveries.delete_old(conn, 3600) == 0
        assert deliveries.delete_old(conn, 0) == 1
        assert conn.execute("SELECT id FROM delivery").fetchall() == [(waiting,)]
        assert conn.execute("SELECT count(*) FROM delivery_attempt").fetchone() == (0,)


def test_a_payload_is_sent_byte_for_byte(
    events: Deliveries, receiver: Receiver, run_deliverer: Delivering
) -> None:
    delivery = events.event(url=receiver.url)
    with psycopg.connect(events.url) as conn:
        row = conn.execute("SELECT payload FROM webhook_event").fetchone()
    assert row is not None
    with run_deliverer():
        events.wait_for_state(delivery, "delivered")
    assert receiver.got[0].body == row[0].encode()
    assert json.loads(row[0])["id"] == receiver.got[0].event_id


def test_a_claim_takes_the_longest_waiting_of_each_receiver(events: Deliveries) -> None:
    first, quiet, last = [
        [events.event(url=f"http://10.0.0.{n}/") for _ in range(MOST_PER_RECEIVER + 3)] for n in (1, 2, 3)
    ]
    claimed = events.run(lambda conn: attempts.claim(conn, room=99, lease_seconds=60, quiet=["1 10.0.0.2"]))
    assert sorted(one.id for one in claimed) == first[:MOST_PER_RECEIVER] + last[:MOST_PER_RECEIVER]
    assert {one.receiver for one in claimed} == {"1 10.0.0.1", "1 10.0.0.3"}
    assert not {one.id for one in claimed} & set(quiet)
