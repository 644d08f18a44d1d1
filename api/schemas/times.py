"""Times on the wire: whole Unix seconds."""

from datetime import datetime


def unix(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment is not None else None
