"""What a slot holds, without a database or an engine."""

from backends.types import Lane
from store.chunks import Claim
from store.items import ClaimedPart
from tasks.holding import HeldChunk, Holding


def claim(chunk_id: int = 1, *, job_id: int = 1, lane: Lane = Lane.BULK) -> Claim:
    return Claim(
        chunk_id=chunk_id,
        job_id=job_id,
        suffix="s",
        view="job",
        project_id=1,
        family="echo",
        model="echo",
        endpoint="/v1/embeddings",
        lane=lane,
        key_id=1,
        streamed=False,
        expected_seconds=0.0,
        lo=0,
        hi=3,
        epoch=1,
        token=7,
        losses=0,
    )


def parts(*strikes: int) -> list[ClaimedPart]:
    return [ClaimedPart(n=n, body=b"%d" % n, strikes=count) for n, count in enumerate(strikes)]


def finish(holding: Holding, key: int) -> HeldChunk | None:
    return holding.finish(key, status=200, units=1, data=b"r")


def test_parts_are_handed_out_in_order_and_once() -> None:
    holding = Holding()
    holding.add(claim(), parts(0, 0, 0), alone=False)
    taken = holding.take(Lane.BULK, 2) + holding.take(Lane.BULK, 2)
    assert [part.body for part in taken] == [b"0", b"1", b"2"]
    assert len({part.key for part in taken}) == 3


def test_lanes_wait_apart() -> None:
    holding = Holding()
    holding.add(claim(1), parts(0), alone=False)
    holding.add(claim(2, lane=Lane.INTERACTIVE), parts(0), alone=False)
    assert [part.lane for part in holding.take(Lane.INTERACTIVE, 5)] == [Lane.INTERACTIVE]
    assert [part.lane for part in holding.take(Lane.BULK, 5)] == [Lane.BULK]


def test_a_part_with_a_strike_is_a_suspect_from_the_start() -> None:
    holding = Holding()
    holding.add(claim(), parts(0, 1, 0), alone=False)
    assert [part.body for part in holding.take(Lane.BULK, 5)] == [b"0", b"2"]
    assert [part.body for part in holding.take_suspect()] == [b"1"]
    assert holding.take_suspect() == []


def test_a_chunk_that_was_lost_often_runs_part_by_part() -> None:
    holding = Holding()
    holding.add(claim(), parts(0, 0), alone=True)
    assert holding.take(Lane.BULK, 5) == []
    assert len(holding.take_suspect()) == 1


def test_a_chunk_is_complete_when_its_last_part_is() -> None:
    holding = Holding()
    chunk = holding.add(claim(), parts(0, 0), alone=False)
    first, second = holding.take(Lane.BULK, 2)
    assert finish(holding, first.key) is chunk
    assert chunk.open == {second.key}
    finish(holding, second.key)
    assert not chunk.open
    assert [row.n for row in chunk.rows] == [0, 1]


def test_a_result_that_comes_after_its_chunk_was_dropped_is_ignored() -> None:
    holding = Holding()
    chunk = holding.add(claim(), parts(0, 0), alone=False)
    [part] = holding.take(Lane.BULK, 1)
    dropped = holding.drop(chunk)
    assert part.key in dropped
    assert finish(holding, part.key) is None
    assert holding.take(Lane.BULK, 5) == []
    assert not holding


def test_after_a_crash_everything_waits_again_and_what_was_in_flight_runs_alone() -> None:
    holding = Holding()
    holding.add(claim(), parts(0, 0, 0), alone=False)
    taken = holding.take(Lane.BULK, 2)
    holding.requeue({taken[0].key})
    assert holding.take_suspect() == [taken[0]]
    assert [part.body for part in holding.take(Lane.BULK, 5)] == [b"1", b"2"]


def test_after_an_end_without_fault_nothing_is_suspect() -> None:
    holding = Holding()
    holding.add(claim(), parts(0, 0), alone=False)
    taken = holding.take(Lane.BULK, 2)
    holding.requeue(())
    assert holding.take(Lane.BULK, 5) == taken


def test_a_suspect_stays_one_through_the_next_crash() -> None:
    holding = Holding()
    holding.add(claim(), parts(0, 0, 0), alone=False)
    first, second, third = holding.take(Lane.BULK, 3)
    holding.requeue({first.key, second.key})
    assert holding.take_suspect() == [first]
    holding.requeue({first.key})
    assert holding.take_suspect() + holding.take_suspect() == [second, first]
    assert holding.take(Lane.BULK, 5) == [third]


def test_parts_with_two_strikes_are_put_aside_and_tried_again_alone_when_readmitted() -> None:
    holding = Holding()
    holding.add(claim(), parts(2, 0), alone=False)
    assert [part.body for part in holding.take_one()] == [b"1"]
    assert holding.take_one() == []
    assert holding.trying
    holding.requeue(())
    assert [part.body for part in holding.take(Lane.BULK, 5)] == [b"1"]
    finish(holding, 2)
    assert not holding.trying
    holding.readmit()
    assert [part.body for part in holding.take_suspect()] == [b"0"]
    finish(holding, 1)
    assert not holding.aside


def test_a_part_that_is_put_aside_while_it_waits_is_not_taken() -> None:
    holding = Holding()
    holding.add(claim(), parts(1, 1), alone=False)
    holding.put_aside(1, "SIGSEGV")
    assert [part.body for part in holding.take_suspect() + holding.take_suspect()] == [b"1"]


def test_one_part_is_a_suspect_before_any_other_and_one_that_somebody_waits_for_next() -> None:
    holding = Holding()
    holding.add(claim(1), parts(0, 1), alone=False)
    holding.add(claim(2, lane=Lane.INTERACTIVE), parts(0), alone=False)
    taken = [holding.take_one()[0] for _ in range(3)]
    assert [part.key for part in taken] == [2, 3, 1]


def test_nothing_more_is_taken_of_a_chunk_that_leaves() -> None:
    holding = Holding()
    chunk = holding.add(claim(1), parts(0, 1), alone=False)
    holding.add(claim(2), parts(0), alone=False)
    chunk.leaving = True
    assert [part.key for part in holding.take(Lane.BULK, 5) + holding.take_suspect()] == [3]
