"""API keys on the wire (ours)."""

from typing import Annotated, Any, Literal

import msgspec

from api.schemas.times import unix
from store.keys import KeyEntry

Scope = Literal["submit", "read", "admin"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
Project = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)")]
PerMinute = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Items = Annotated[int, msgspec.Meta(ge=1, le=10**12)]


class KeyWanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A key that is asked for; without `scopes` it may submit and read."""

    name: Name
    project: Project = "default"
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=3)] | None = None
    priority_cap: Annotated[int, msgspec.Meta(ge=-100, le=100)] = 100
    weight: Annotated[float, msgspec.Meta(ge=0.01, le=1000)] = 1.0
    requests_per_minute: PerMinute | None = None
    max_queued_items: Items | None = None


class KeyObject(msgspec.Struct, kw_only=True):
    """A key; its secret ends with `hint`."""

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    project: str
    scopes: list[str]
    hint: str | None
    priority_cap: int
    weight: float
    requests_per_minute: int | None
    max_queued_items: int | None
    created_at: int
    revoked_at: int | None


class NewKeyObject(KeyObject, kw_only=True):
    """A key that was just made: the only time that its secret is shown, as `key`."""

    key: str
    note: str | None = None


class RevokedKeyObject(KeyObject, kw_only=True):
    """A key that is revoked; `note` says what follows for others."""

    note: str | None = None


def key_object(entry: KeyEntry) -> KeyObject:
    return KeyObject(**_fields(entry))


def new_key_object(entry: KeyEntry, secret: str, note: str | None) -> NewKeyObject:
    return NewKeyObject(**_fields(entry), key=secret, note=note)


def revoked_key_object(entry: KeyEntry, note: str | None) -> RevokedKeyObject:
    return RevokedKeyObject(**_fields(entry), note=note)


def _fields(entry: KeyEntry) -> dict[str, Any]:
    fields = dict(vars(entry))
    fields["id"] = fields.pop("public_id")
    return fields | {"created_at": unix(entry.created_at), "revoked_at": unix(entry.revoked_at)}
