"""Windows: the hours of a day in which a bulk job may run, such as 22:00-06:00 in Europe/Berlin."""

import re
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

_FORM = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_LONGEST_ZONE = 64  # characters; the longest name of the tz database has 32


@dataclass(frozen=True)
class Window:
    """From `start` until just before `end`, every day; past midnight where `end` is the earlier of the two.

    What counts is what a clock on the wall shows in `zone`. So on the days of daylight saving a window may
    be an hour longer or shorter, and hours that such a day skips do not come.
    """

    start: time
    end: time
    zone: ZoneInfo

    def is_open(self, now: datetime) -> bool:
        """Whether work may begin at `now`, which has a time zone, whichever."""
        shown = now.astimezone(self.zone).time()
        if self.start < self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end


def parse_window(window: str, timezone: str | None) -> Window:
    """`HH:MM-HH:MM` in a zone of the IANA tz database. Raises ValueError with a sentence for the caller."""
    found = _FORM.fullmatch(window)
    if found is None:
        raise ValueError("a window reads HH:MM-HH:MM, such as 22:00-06:00")
    first, first_minute, last, last_minute = (int(number) for number in found.groups())
    try:
        start, end = time(first, first_minute), time(last, last_minute)
    except ValueError:
        raise ValueError("a window's times go from 00:00 to 23:59") from None
    if start == end:
        raise ValueError("a window must not start and end at the same time; leave it out to run at any time")
    if not timezone:
        raise ValueError("a window needs a timezone, such as Europe/Berlin")
    return Window(start, end, _zone(timezone))


def _zone(name: str) -> ZoneInfo:
    try:
        if len(name) <= _LONGEST_ZONE:
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all, such as a path; a folder
        pass
    raise ValueError(f"the timezone {name[:_LONGEST_ZONE]!r} is not known; one reads like Europe/Berlin")
