"""Times on the wire: whole Unix seconds."""

from datetime import datetime
from typing import overload


@overload
def unix(moment: datetime) -> int: ...
@overload
def unix(moment: datetime | None) -> int | None: ...
def unix(moment: datetime | None) -> int | None:
    """Rounded down; None where there is no such moment."""
    return int(moment.timestamp()) if moment is not None else None
