"""Jobs that no slot could take say so, and looking for them does not keep a core busy."""

from collections.abc import Iterator
from typing import Any

import psycopg

from tasks.wakeups import REST, Explanations
from tests.tasks.slot import submit, text
from tests.tasks.test_drain import conn

__all__ = ["conn"]  # the fixture


def test_a_look_that_took_long_is_not_repeated_soon(conn: psycopg.Connection[Any], database_url: str) -> None:
    times: Iterator[float] = iter(
        [0.0, 0.0, 5.0, 7.0, 8.0, 7.0 + 2 * REST, 7.0 + 2 * REST]  # begun, ended; asked only; begun, ended
    )
    explanations = Explanations(clock=lambda: next(times))
    submit(database_url, [text(0)])

    def notes() -> list[str | None]:
        explanations.step(conn)
        return [row[0] for row in conn.execute("SELECT note FROM job ORDER BY id").fetchall()]

    says = "no live slot serves family echo"
    assert notes() == [says]
    assert notes() == [says]  # nothing to say, which took two seconds
    submit(database_url, [text(0)])
    assert notes() == [says, None]
    assert notes() == [says, says]
