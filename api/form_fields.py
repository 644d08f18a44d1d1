"""The fields of a form as the JSON body that they stand for.

A form knows text alone. Lists are repeated fields (`include[]` as the official client writes it, or just
`include`), objects are `captions[max_lines]` or one field of JSON.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson

from api.errors import ApiError

# number, flag: as JSON writes them; list: of texts; object: of JSON's scalars; texts: an object of texts.
Kind = Literal["number", "flag", "list", "object", "texts"]

_NAME = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<key>[^\[\]]*)\])?")


def json_of(fields: Iterable[tuple[str, str]], kinds: Mapping[str, Kind]) -> bytes:
    """The body. `kinds` says what fields are that are not text. What does not read as its kind stays text,
    for whoever checks the body to refuse. An empty field is the same as leaving it out.

    Raises `ApiError` (invalid_value) for a field that is given twice.
    """
    body: dict[str, Any] = {}
    for given, text in fields:
        found = _NAME.fullmatch(given)
        name, key = (found["name"], found["key"]) if found else (given, None)
        kind = kinds.get(name)
        if not text:
            continue
        if kind == "list" and not key:
            body.setdefault(name, []).append(text)
        elif kind in ("object", "texts") and key:
            _add_member(body, name, key, text if kind == "texts" else _scalar(text))
        elif given in body:
            raise ApiError("invalid_value", f"The field '{given[:80]}' is given twice.", param=given[:80])
        else:
            body[given] = _value(text, kinds.get(given))
    return orjson.dumps(body)


def _add_member(body: dict[str, Any], name: str, key: str, value: Any) -> None:
    members = body.setdefault(name, {})
    if not isinstance(members, dict) or key in members:
        raise ApiError("invalid_value", f"The field '{name}[{key[:80]}]' is given twice.", param=name)
    members[key] = value


def _value(text: str, kind: Kind | None) -> Any:
    if kind == "number":
        number = _scalar(text)
        return number if type(number) in (int, float) else text
    if kind == "flag":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind in ("object", "texts"):
        read = _json(text)
        return read if isinstance(read, dict) else text
    return text


def _scalar(text: str) -> Any:
    """A number, true or false; else the text itself."""
    read = _json(text)
    return read if isinstance(read, int | float) else text


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
