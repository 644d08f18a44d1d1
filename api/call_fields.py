"""The fields of a single call that are the service's and not the model's: `webhook_url` and `metadata`.

They are taken out of the body before its endpoint reads it, whatever the endpoint, so that no backend sees
them.
"""

import msgspec

from api.schemas.work import Metadata
from api.wire import decode

NAMES = ("webhook_url", "metadata")
_QUOTED = tuple(f'"{name}"'.encode() for name in NAMES)

_read_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class CallFields(msgspec.Struct, kw_only=True, frozen=True):
    webhook_url: str | None = None
    metadata: Metadata | None = None


NONE = CallFields()


def take_fields(body: bytes) -> tuple[bytes, CallFields]:
    """The body without our fields, and what they say. Raises `ApiError` that names the one at fault.

    A body that does not name them, as most, is only searched; the values of any other are copied as they
    are written, not read.
    """
    if not any(quoted in body for quoted in _QUOTED):
        return body, NONE
    fields = decode(body, CallFields)
    raw = _read_raw(body)
    for name in NAMES:
        raw.pop(name, None)
    return _encode(raw), fields
