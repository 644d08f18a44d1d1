"""The run loop over an encoder that counts: order, packing, equal rows, and parts that fail alone."""

import numpy as np
import pytest

from backends.bert import desk, work
from backends.types import Done, Failed, Lane, Part, Progress, Started, decode_result
from tests.backends.bert.shapes import CountingEncoder, backend
from tests.backends.listed_feed import ListedFeed, answers, codes, part, run, vectors


def ids(*lengths: int, first: int = 5) -> list[list[int]]:
    """One row of ids per length; rows of one length differ by `first`."""
    return [[first + at] + [7] * (length - 1) for at, length in enumerate(lengths)]


def test_every_part_is_answered_once_and_in_the_order_of_its_inputs() -> None:
    parts = [part(key, input=ids(3, 9, 1, 20, first=5 + key)) for key in range(30)]
    found = answers(run(backend(CountingEncoder()), parts))
    assert sorted(found) == list(range(30))
    for key, answer in found.items():
        assert vectors(answer)[:, 0].tolist() == [3, 9, 1, 20]
        assert vectors(answer)[:, 1].tolist() == [5 + key, 6 + key, 7 + key, 8 + key]


def test_a_part_starts_before_it_is_done_and_only_once() -> None:
    events = run(backend(CountingEncoder()), [part(key, input=ids(30, 30, 30, first=9)) for key in (1, 2)])
    started = [key for event in events if isinstance(event, Started) for key in event.keys]
    assert sorted(started) == [1, 2]
    first_done = next(at for at, event in enumerate(events) if isinstance(event, Done))
    assert isinstance(events[0], Started)
    assert first_done > 0


def test_batches_keep_the_budget_and_rows_of_like_length_meet() -> None:
    encoder = CountingEncoder()
    lengths = [1 + (number * 7) % 31 for number in range(100)]
    parts = [part(key, input=[[key, *[7] * (length - 1)]]) for key, length in enumerate(lengths)]
    run(backend(encoder), parts)
    padded = [len(call) * max(map(len, call)) for call in encoder.calls]
    assert all(cost <= 64 for cost in padded)
    assert all(len(call) <= 8 for call in encoder.calls)
    real = sum(len(row) for call in encoder.calls for row in call)
    assert sum(padded) <= 1.15 * real


def test_equal_inputs_are_computed_once_also_across_parts_and_runs() -> None:
    encoder = CountingEncoder()
    subject = backend(encoder)
    first = run(subject, [part(1, input=ids(5) * 40), part(2, input=[*ids(5), *ids(6, first=50)])])
    second = run(subject, [part(3, input=ids(5))])
    assert sum(len(call) for call in encoder.calls) == 2
    assert vectors(answers(first)[1]).shape == (40, 4)
    assert np.array_equal(vectors(answers(second)[3])[0], vectors(answers(first)[1])[0])
    assert decode_result(answers(first)[1].data).tokens == 200  # type: ignore[union-attr]


def test_an_interactive_part_goes_before_bulk_ones_that_were_there_first() -> None:
    def arrive(feed: ListedFeed) -> None:
        if len(feed.asked) == 3:
            feed.parts.append(part(99, lane=Lane.INTERACTIVE, input="who waits"))

    bulk = [part(key, input=ids(30, 31, 32, first=5 + key)) for key in range(20)]
    order = list(answers(list(backend(CountingEncoder()).run(ListedFeed(bulk, arrive)))))
    assert 99 in order[:3]
    assert len(order) == 21


def test_nothing_rides_along_with_an_interactive_part() -> None:
    encoder = CountingEncoder()
    bulk = [part(key, input=ids(3, first=5 + key)) for key in range(20)]
    run(backend(encoder), [*bulk, part(99, lane=Lane.INTERACTIVE, input=ids(4, first=90))])
    assert [[90, 7, 7, 7]] in encoder.calls


def test_bulk_batches_are_short_for_a_while_after_somebody_has_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(desk, "monotonic", lambda: now)
    encoder = CountingEncoder()
    subject = backend(encoder)
    subject.short_batch_tokens = 16  # type: ignore[misc]  # of 64

    def pass_time(feed: ListedFeed) -> None:
        nonlocal now
        if len(feed.asked) == 3:
            feed.parts.append(part(99, lane=Lane.INTERACTIVE, input="who waits"))
        if len(feed.asked) >= 3:
            now += 0.5

    run_over = ListedFeed([part(key, input=[[5 + key, *[7] * 7]]) for key in range(60)], pass_time)
    list(subject.run(run_over))
    bulk = [sum(map(len, call)) for call in encoder.calls if call[0][1:] == [7] * 7]
    assert bulk[0] == 64
    assert bulk.count(16) in (3, 4)  # two seconds of half-second calls
    assert bulk[-2] == 64


def test_the_interactive_part_with_the_fewest_rows_goes_first() -> None:
    big = part(1, lane=Lane.INTERACTIVE, input=ids(*[30] * 20))
    small = part(2, lane=Lane.INTERACTIVE, input=ids(30, first=90))
    assert list(answers(run(backend(CountingEncoder()), [big, small]))) == [2, 1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_fails_its_part_alone(wrong: float) -> None:
    encoder = CountingEncoder(lambda row: wrong if row[0] == 66 else None)
    parts = [
        part(1, input=ids(4, 4)),
        part(2, input=[[8, 8], [66, 7], [9, 9]]),
        part(3, input=ids(4, first=90)),
    ]
    events = run(backend(encoder), parts)
    assert codes(events) == {2: "non_finite_output"}
    assert set(answers(events)) == {1, 2, 3}


def test_a_row_that_the_library_refuses_fails_its_part_alone() -> None:
    def refuse(row: list[int]) -> None:
        if row[0] == 66:
            raise RuntimeError("no such shape")

    parts = [part(1, input=ids(4, 4)), part(2, input=[[66, 7]]), part(3, input=[[66, 7]])]
    events = run(backend(CountingEncoder(refuse)), parts)
    assert codes(events) == {2: "engine_error", 3: "engine_error"}
    assert isinstance(answers(events)[1], Done)


def test_a_bad_body_fails_alone_and_is_never_started() -> None:
    bad = [Part(1, "/v1/embeddings", b"{"), part(2, endpoint="/v1/images/generations", input="x")]
    events = run(backend(CountingEncoder()), [*bad, part(3, input="the slot")])
    assert codes(events) == {1: "invalid_json", 2: "endpoint_not_supported"}
    assert [event.keys for event in events if isinstance(event, Started)] == [[3]]


def test_cancelled_parts_are_forgotten_and_the_rest_goes_on() -> None:
    encoder = CountingEncoder()

    def cancel(feed: ListedFeed) -> None:
        if len(feed.asked) == 3:
            feed.gone |= {1, 2}

    parts = [part(key, input=[[5 + at, *[10 + key] * 31] for at in range(40)]) for key in range(4)]
    found = answers(list(backend(encoder).run(ListedFeed(parts, cancel))))
    assert set(found) == {0, 3}
    assert sum(len(call) for call in encoder.calls) <= 80 + 2 * 2  # two calls of two rows were made before


def test_no_more_is_taken_than_the_window_needs() -> None:
    rows = [[5 + number % 100, 7 + number // 100, *[7] * 28] for number in range(256)]
    feed = ListedFeed([part(key, input=[[*row[:-1], 10 + key] for row in rows]) for key in range(40)])
    events = backend(CountingEncoder()).run(feed)
    next(events)
    assert len(feed.parts) > 20
    assert len(answers(list(events))) == 40
    assert max(feed.asked[3:]) <= 3


def test_a_large_part_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PROGRESS_SECONDS", 0.0)
    rows = [[5 + number % 100, 7 + number // 100, *[7] * 20] for number in range(150)]
    events = run(backend(CountingEncoder()), [part(1, input=rows), part(2, input="few")])
    told = [event for event in events if isinstance(event, Progress)]
    assert {event.key for event in told} == {1}
    assert [event.done for event in told] == sorted({event.done for event in told})
    assert told[-1].done < told[-1].total == 150


def test_a_backend_runs_again_after_its_feed_was_closed() -> None:
    subject = backend(CountingEncoder())
    assert run(subject, []) == []
    assert isinstance(answers(run(subject, [part(1, input="the slot")]))[1], Done)
    assert isinstance(answers(run(subject, [part(1, input="its engine")]))[1], Done)


def test_a_part_with_one_bad_input_is_one_failure() -> None:
    events = run(backend(CountingEncoder()), [part(1, input=[[5, 6], [5, 120]])])
    assert [type(event) for event in events] == [Failed]
