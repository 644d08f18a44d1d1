"""Windows: when they are open, by the clock on the wall, and what is no window."""

from datetime import UTC, datetime, timedelta

import pytest

from configs.windows import parse_window


def open_at(window: str, *times: str, timezone: str = "UTC") -> list[bool]:
    parsed = parse_window(window, timezone)
    return [parsed.is_open(datetime.fromisoformat(time).replace(tzinfo=UTC)) for time in times]


def test_a_window_is_open_from_its_start_until_just_before_its_end() -> None:
    times = ("2026-01-01T08:59:59", "2026-01-01T09:00", "2026-01-01T16:59:59", "2026-01-01T17:00")
    assert open_at("09:00-17:00", *times) == [False, True, True, False]


def test_a_window_may_go_past_midnight() -> None:
    times = ("2026-01-01T21:59", "2026-01-01T22:00", "2026-01-01T23:59", "2026-01-02T00:00",
             "2026-01-02T05:59", "2026-01-02T06:00")  # fmt: skip
    assert open_at("22:00-06:00", *times) == [False, True, True, True, True, False]


def test_a_window_goes_by_its_own_zone() -> None:
    # Nine in the morning of Tokyo is midnight in UTC.
    times = ("2025-12-31T23:59", "2026-01-01T00:00", "2026-01-01T08:00")
    assert open_at("09:00-17:00", *times, timezone="Asia/Tokyo") == [False, True, False]


@pytest.mark.parametrize(
    ("window", "opens", "closes"),
    [
        # 2026-03-29 01:00 UTC: clocks in Berlin go from 02:00 to 03:00. The night is an hour short.
        ("22:00-06:00", "2026-03-28T21:00", "2026-03-29T04:00"),
        # 2026-10-25 01:00 UTC: from 03:00 back to 02:00. The night is an hour long.
        ("22:00-06:00", "2026-10-24T20:00", "2026-10-25T05:00"),
        # It would begin in the hour that the day skips.
        ("02:30-05:00", "2026-03-29T01:00", "2026-03-29T03:00"),
    ],
)
def test_a_window_keeps_to_the_wall_when_clocks_change(window: str, opens: str, closes: str) -> None:
    first, last = (datetime.fromisoformat(time).replace(tzinfo=UTC) for time in (opens, closes))
    minutes = (last - first) // timedelta(minutes=1)
    parsed = parse_window(window, "Europe/Berlin")
    state = [parsed.is_open(first + timedelta(minutes=minute)) for minute in range(-1, minutes + 1)]
    assert state == [False, *[True] * minutes, False]


@pytest.mark.parametrize(
    ("window", "timezone", "reason"),
    [
        ("22:00-06:00", None, "needs a timezone, such as Europe/Berlin"),
        ("22:00-06:00", "", "needs a timezone"),
        ("22:00-06:00", "Europe/Atlantis", "timezone 'Europe/Atlantis' is not known"),
        ("22:00-06:00", "../etc/passwd", "is not known"),
        ("22:00-06:00", "Europe", "is not known"),
        ("22:00-06:00", "Europe/Ber\0lin", "is not known"),
        ("22:00-06:00", "x" * 100_000, "is not known"),
        ("22:00-22:00", "UTC", "must not start and end at the same time"),
        ("22:00-24:00", "UTC", "from 00:00 to 23:59"),
        ("22:60-23:00", "UTC", "from 00:00 to 23:59"),
        ("22-06", "UTC", "reads HH:MM-HH:MM"),
        ("٢٢:00-06:00", "UTC", "reads HH:MM-HH:MM"),
        ("22:00-06:00 ", "UTC", "reads HH:MM-HH:MM"),
        ("", "UTC", "reads HH:MM-HH:MM"),
    ],
)
def test_what_is_no_window_is_refused_with_a_sentence(window: str, timezone: str | None, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_window(window, timezone)
