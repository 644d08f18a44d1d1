"""Paces of models: kept by whoever measured last."""

from collections.abc import Callable
from typing import Any

import psycopg

from store import paces


def test_a_pace_is_known_to_all_once_it_is_saved(
    conn: psycopg.Connection[Any], wait_for: Callable[..., Any]
) -> None:
    assert paces.load(conn) == {}
    paces.save(conn, {"fast": 0.01, "slow": 2.0})
    paces.save(conn, {"slow": 3.0})
    paces.save(conn, {})
    assert paces.load(conn) == {"fast": 0.01, "slow": 3.0}
    assert wait_for(paces.seconds_per_part, ["slow", "unknown"]) == {"slow": 3.0}
