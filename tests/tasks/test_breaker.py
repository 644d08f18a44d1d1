"""Strikes, and what they say of an item and of its model."""

from tasks.breaker import PAUSE_AFTER, Breaker, Verdict


def test_the_second_strike_fails_an_item_only_where_another_was_computed_between() -> None:
    breaker = Breaker()
    assert breaker.struck(1, (1, 1), 1) is Verdict.RETRY
    breaker.succeeded()
    assert breaker.struck(1, (1, 1), 2) is Verdict.FAIL


def test_an_item_is_condemned_while_nothing_else_was_computed() -> None:
    breaker = Breaker()
    breaker.succeeded()  # before its first strike: says nothing of what came then
    breaker.struck(1, (1, 1), 1)
    assert breaker.struck(1, (1, 1), 2) is Verdict.CONDEMN
    assert breaker.struck(2, (1, 2), 2) is Verdict.CONDEMN  # its first strike was elsewhere


def test_different_items_in_a_row_trip_it_and_one_item_again_and_again_does_not() -> None:
    breaker = Breaker()
    for strikes in range(1, 10):
        breaker.struck(1, (1, 1), strikes)
    assert not breaker.tripped
    for n in range(2, PAUSE_AFTER + 1):
        assert not breaker.tripped
        breaker.struck(n, (1, n), 2)
    assert breaker.tripped


def test_first_strikes_alone_do_not_trip_it() -> None:
    breaker = Breaker()
    for n in range(100):  # one batch of a native library
        breaker.struck(n, (1, n), 1)
    assert breaker.row == 0


def test_a_success_breaks_the_row() -> None:
    breaker = Breaker()
    for n in range(PAUSE_AFTER):
        breaker.succeeded()
        for m in range(PAUSE_AFTER - 1):
            breaker.struck(10 * n + m, (1, 10 * n + m), 2)
            assert not breaker.tripped
