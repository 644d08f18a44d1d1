"""Whose turn it is: lanes, priority, fair share, the loaded model, the shortest that somebody waits for."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from store import chunks, lifecycle, turns

Take = Callable[..., chunks.Claim | None]
NewJob = Callable[..., int]


def test_who_waits_goes_before_who_does_not_and_then_priority_decides(take: Take, new_job: NewJob) -> None:
    bulk = new_job(1)
    urgent = new_job(1, priority=5)
    waiting = new_job(1, lane="interactive", priority=-5)
    order = [claim.job_id for claim in (take(), take(), take()) if claim]
    assert order == [waiting, urgent, bulk]


def test_lanes_are_served_in_the_order_that_the_slot_asks_for(take: Take, new_job: NewJob) -> None:
    new_job(1, lane="interactive")
    bulk = new_job(1)
    claim = take(lanes=["bulk", "interactive"])
    assert claim is not None
    assert claim.job_id == bulk
    assert take(lanes=["bulk"]) is None


def test_a_slot_gets_only_its_families_and_what_its_cores_allow(take: Take, new_job: NewJob) -> None:
    new_job(1, family="bert")
    new_job(1, cores=4)
    narrow = new_job(1, cores=2)
    claim = take(cores=2)
    assert claim is not None
    assert claim.job_id == narrow
    assert take(cores=2) is None


def test_a_slot_may_ask_for_one_model_alone(take: Take, new_job: NewJob) -> None:
    new_job(1, model="other", priority=9)
    wanted = new_job(1, model="wanted")
    claim = take(only_model="wanted")
    assert claim is not None
    assert claim.job_id == wanted
    assert take(only_model="wanted") is None


def test_a_slot_may_ask_for_jobs_that_are_expected_to_be_short(take: Take, new_job: NewJob) -> None:
    for seconds in (9.0, 2.0, 1.0):
        new_job(1, lane="interactive", expected_seconds=seconds)
    new_job(1, lane="interactive", expected_seconds=0.5, model="other")
    found = [take(only_model="echo", shorter_than=2.0) for _ in range(2)]
    assert [claim and claim.expected_seconds for claim in found] == [1.0, None]


def test_a_paused_model_is_left_alone(take: Take, new_job: NewJob, conn: psycopg.Connection[Any]) -> None:
    new_job(1, model="broken", priority=9)
    fine = new_job(1, model="fine")
    conn.execute("INSERT INTO model_pause VALUES ('broken', 'crashes')")
    claim = take()
    assert claim is not None
    assert claim.job_id == fine
    assert take() is None


def test_a_job_waits_for_its_time(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any], wait_for: Callable[..., Any]
) -> None:
    job = new_job(1, not_before=datetime.now(UTC) + timedelta(hours=1))
    assert take() is None
    assert lifecycle.release_due(conn) == 0
    conn.execute("UPDATE job SET not_before = now()")
    assert lifecycle.release_due(conn) == 1
    claim = take()
    assert claim is not None
    assert claim.job_id == job


def test_callers_share_the_compute_however_many_jobs_each_has(
    take: Take, new_job: NewJob, new_key: Callable[..., int]
) -> None:
    """spine.md §6: 300 claims over 19 keys gave each 15 or 16."""
    keys = [new_key() for _ in range(19)]
    for index, key in enumerate(keys):
        for _ in range(1 + index % 3):
            new_job(100, key_id=key)
    got = Counter(claim.key_id for _ in range(300) if (claim := take(default_size=1)) is not None)
    assert sum(got.values()) == 300
    assert set(got) == set(keys)
    assert set(got.values()) <= {15, 16}


def test_the_weight_of_a_key_is_its_share(take: Take, new_job: NewJob, new_key: Callable[..., int]) -> None:
    light, heavy = new_key(1.0), new_key(3.0)
    new_job(100, key_id=light)
    new_job(100, key_id=heavy)
    got = Counter(claim.key_id for _ in range(80) if (claim := take(default_size=1)) is not None)
    assert got[heavy] == pytest.approx(60, abs=1)
    assert got[light] == pytest.approx(20, abs=1)


def test_shares_are_seconds_of_compute_not_parts(
    take: Take, new_job: NewJob, new_key: Callable[..., int]
) -> None:
    slow, fast = new_key(), new_key()
    new_job(300, key_id=slow, model="slow")
    new_job(300, key_id=fast, model="fast")
    seconds = {"slow": 4.0, "fast": 1.0}
    got = Counter(
        claim.key_id for _ in range(100) if (claim := take(default_size=1, seconds=seconds)) is not None
    )
    assert got[fast] == pytest.approx(80, abs=1)
    assert got[slow] == pytest.approx(20, abs=1)


def test_a_guess_at_a_models_pace_is_made_good(
    take: Take, new_job: NewJob, new_key: Callable[..., int], conn: psycopg.Connection[Any]
) -> None:
    one, other = new_key(2.0), new_key()
    for key in (one, other):
        new_job(100, key_id=key)
    first = take(default_size=32)
    assert first is not None
    chunks.recharge(conn, first, 0.001)
    shares = dict(conn.execute("SELECT key_id, vtime FROM share").fetchall())
    assert shares == {one: pytest.approx(32 * 0.001 / 2)}


def test_a_caller_who_was_away_catches_up_within_bounds(
    take: Take, new_job: NewJob, new_key: Callable[..., int]
) -> None:
    busy, late = new_key(), new_key()
    new_job(2000, key_id=busy)
    for _ in range(300):
        take(default_size=1, seconds={"echo": 1.0})
    new_job(2000, key_id=late)
    got = [claim.key_id for _ in range(200) if (claim := take(default_size=1, seconds={"echo": 1.0}))]
    # It gets its first claim, then the credit, then every second one.
    assert got[:60] == [late] * 60
    assert Counter(got[70:])[busy] == pytest.approx(65, abs=2)


def test_the_loaded_model_goes_first_within_a_bound(
    take: Take, new_job: NewJob, new_key: Callable[..., int]
) -> None:
    one, other = new_key(), new_key()
    new_job(500, key_id=one, model="loaded")
    new_job(500, key_id=other, model="cold")
    got = [
        claim.model
        for _ in range(100)
        if (claim := take(default_size=1, seconds={"loaded": 1.0, "cold": 1.0}, loaded="loaded"))
    ]
    first_switch = got.index("cold")
    assert first_switch == pytest.approx(turns.AFFINITY_SECONDS, abs=2)
    assert Counter(got[first_switch:])["cold"] == pytest.approx((100 - first_switch) / 2, abs=2)


def test_the_loaded_model_of_a_caller_is_found_behind_its_older_jobs(take: Take, new_job: NewJob) -> None:
    new_job(1, model="cold")
    warm = new_job(1, model="loaded")
    claim = take(loaded="loaded")
    assert claim is not None
    assert claim.job_id == warm


def test_of_a_callers_waiting_jobs_the_shortest_goes_first(take: Take, new_job: NewJob) -> None:
    long, short, middle = (
        new_job(1, lane="interactive", expected_seconds=seconds) for seconds in (600.0, 3.0, 60.0)
    )
    urgent = new_job(1, lane="interactive", expected_seconds=900.0, priority=1)
    assert [claim.job_id for _ in range(4) if (claim := take())] == [urgent, short, middle, long]


def test_the_oldest_goes_first_once_it_has_waited_long_enough(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    made = [new_job(1, lane="interactive", expected_seconds=seconds) for seconds in (600.0, 60.0, 3.0)]
    age = "UPDATE job SET created_at = now() - make_interval(secs => %s) WHERE id = %s"
    for job_id in made[:2]:  # both have waited: the older one is first, though it is longer
        conn.execute(age, (turns.AGE_BOUND_SECONDS, job_id))
    assert [claim.job_id for _ in range(3) if (claim := take())] == made


def test_a_job_that_has_waited_does_not_wait_for_ever_behind_the_loaded_model(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    cold = new_job(1, lane="interactive", model="cold")
    warm = [new_job(1, lane="interactive", model="loaded", expected_seconds=s) for s in (2.0, 1.0)]
    first = take(loaded="loaded")
    assert first is not None
    assert first.job_id == warm[1]  # the shortest of the loaded model
    conn.execute("UPDATE job SET created_at = now() - interval '11 seconds' WHERE id = %s", (cold,))
    assert [claim.job_id for _ in range(2) if (claim := take(loaded="loaded"))] == [cold, warm[0]]


def test_how_long_a_job_is_expected_to_take_does_not_set_aside_fair_share(
    take: Take, new_job: NewJob, new_key: Callable[..., int]
) -> None:
    long, short = new_key(), new_key()
    for _ in range(20):
        new_job(1, lane="interactive", key_id=long, expected_seconds=60.0)
        new_job(1, lane="interactive", key_id=short, expected_seconds=1.0)
    got = [claim.key_id for _ in range(20) if (claim := take())]
    assert Counter(got) == {long: 10, short: 10}
    assert got[0] == short  # of callers who have had as much, the one with the shorter job


def test_the_shortest_first_is_no_rule_for_bulk(take: Take, new_job: NewJob) -> None:
    made = [new_job(1, expected_seconds=seconds) for seconds in (600.0, 3.0)]
    assert [claim.job_id for _ in range(2) if (claim := take())] == made


def test_asking_whose_turn_it_is_claims_nothing(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    def next_model(loaded: str | None) -> str | None:
        return turns.next_model(conn, families=["echo"], lanes=["bulk"], cores=1, loaded=loaded)

    assert next_model(None) is None
    new_job(1, model="first")
    new_job(1, model="second")
    assert [next_model(None), next_model("second")] == ["first", "second"]
    claim = take()
    assert claim is not None
    assert claim.model == "first"
