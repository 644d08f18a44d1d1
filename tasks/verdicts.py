"""What follows from an attempt: delivered, another attempt after a pause, or the end.

The schedule is Standard Webhooks' example: ten attempts over some 75 hours.
"""

import random
from collections.abc import Sequence

from store.attempts import Attempted
from store.states import DeliveryState
from tasks.sending import Outcome

HOUR = 3600.0
# Seconds before each attempt, counted from the one before it.
SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
JITTER = 0.05  # up or down, so that what failed together does not come back together
MOST_RETRY_AFTER_SECONDS = 24 * HOUR
GONE = 410
# Where every attempt at an endpoint has failed for so long, nothing more is sent to it.
GIVE_UP_SECONDS = 5 * 24 * HOUR
# These say that the receiver has too much to do: what else waits for it pauses too.
THROTTLING = (429, 502, 503, 504)
THROTTLE_SECONDS = 5.0


def judge(outcome: Outcome, tries: int, schedule: Sequence[float] = SCHEDULE) -> Attempted:
    """The attempt as it is recorded; `tries` counts the attempts before it."""
    state, delay = DeliveryState.PENDING, 0.0
    if outcome.succeeded:
        state = DeliveryState.DELIVERED
    elif outcome.status_code == GONE:
        state = DeliveryState.DISABLED
    elif tries + 1 >= len(schedule):
        state = DeliveryState.EXHAUSTED
    else:
        delay = schedule[tries + 1] * random.uniform(1 - JITTER, 1 + JITTER)
        delay = max(delay, _asked_for(outcome))
    return Attempted(
        state=state,
        delay_seconds=delay,
        status_code=outcome.status_code,
        latency_ms=outcome.latency_ms,
        error=outcome.error,
    )


def quiet_seconds(outcome: Outcome) -> float:
    """For how long nothing else should be sent to the receiver either; 0 where it did not ask for that."""
    if outcome.status_code not in THROTTLING:
        return 0.0
    return _asked_for(outcome) or THROTTLE_SECONDS


def _asked_for(outcome: Outcome) -> float:
    return min(outcome.retry_after_seconds or 0.0, MOST_RETRY_AFTER_SECONDS)
