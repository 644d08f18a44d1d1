"""When a file expires: OpenAI's `expires_after` object, in JSON and as two fields of a form."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from api.errors import ApiError

DAY = 24 * 3600
SHORTEST, LONGEST = 3600, 30 * DAY

Seconds = Annotated[int, msgspec.Meta(ge=SHORTEST, le=LONGEST)]


class ExpiresAfter(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Seconds after `anchor` at which a file expires: an hour to thirty days."""

    anchor: Literal["created_at"]
    seconds: Seconds


def lifetime(purpose: str, asked: ExpiresAfter | None) -> int | None:
    """Seconds that a file is kept; None is for ever. Files of batches go after 30 days, as OpenAI's do."""
    if asked is not None:
        return asked.seconds
    return LONGEST if purpose == "batch" else None


def expiry_of_form(fields: Mapping[str, str]) -> ExpiresAfter | None:
    """Read `expires_after[anchor]` and `expires_after[seconds]`; both or neither are given."""
    prefix = "expires_after"
    given = {key: fields.get(f"{prefix}[{key}]") for key in ("anchor", "seconds")}
    if not any(given.values()):
        return None
    try:
        return msgspec.convert(given, ExpiresAfter, strict=False)
    except msgspec.ValidationError as error:
        message = (
            f"Invalid '{prefix}': {error}. It takes [anchor]=created_at and [seconds]={SHORTEST}…{LONGEST}."
        )
        raise ApiError("invalid_value", message, param=prefix) from None
