"""A deliverer that is killed: the event is sent again, the same one."""

import threading
from pathlib import Path

from tests.fixtures.processes import program
from tests.fixtures.receiver import Answer, receiving
from tests.tasks.deliverer import Deliveries

LEASE_SECONDS = 2.0


def test_an_event_that_was_sent_and_not_recorded_is_sent_again_under_its_id(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Killed after the receiver got the event, and before its answer was recorded."""
    events, held = Deliveries(database_url), threading.Event()
    arguments = (database_url, redis_url, tmp_path, LEASE_SECONDS)
    with receiving() as receiver:
        receiver.answer = lambda received: Answer(hold=held)
        delivery = events.event(url=receiver.url)
        with program("run_deliverer.py", *arguments) as first:
            receiver.wait_for(1)
            first.kill()
            first.wait(30)
        assert events.attempts(delivery) == []
        held.set()
        with program("run_deliverer.py", *arguments) as second:
            row = events.wait_for_state(delivery, "delivered")
            second.terminate()
            assert second.wait(30) == 0
        once, again = receiver.got
    assert once.event_id == again.event_id == row.event_id
    assert once.body == again.body
    assert len(events.attempts(delivery)) == 1
