"""Reading the fields of a request body, the same for every endpoint.

All of it raises `InvalidBody` that names the field at fault."""

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import orjson

from backends.errors import InvalidBody

Choice = TypeVar("Choice", bound=str)

NO_DEFAULTS: Mapping[str, Any] = MappingProxyType({})


def invalid(code: str, message: str, param: str | None = None) -> InvalidBody:
    return InvalidBody(message, code=code, param=param)


def read_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)  # refuses NaN, invalid UTF-8 and deep nesting without a RecursionError
    except orjson.JSONDecodeError as error:
        raise invalid("invalid_json", f"the body is not valid JSON: {error}") from None


def given_fields(body: Any, known: Container[str]) -> dict[str, Any]:
    """The fields that a request gives; null is the same as leaving one out."""
    if not isinstance(body, dict):
        raise invalid("invalid_request", "the body must be a JSON object")
    for name in body:
        if name not in known:
            raise invalid("invalid_request", f"unknown field '{name[:80]}'", name[:80])
    return {name: value for name, value in body.items() if value is not None}


def read_model(fields: Mapping[str, Any], default: str | None) -> str:
    model = read_string(fields, "model") or default
    if not model:
        raise invalid("missing_required_parameter", "'model' is required", "model")
    return model


def read_string(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid("invalid_type", f"'{name}' must be a string", name)
    return value


def read_choice(fields: Mapping[str, Any], name: str, choices: Sequence[Choice]) -> Choice | None:
    value = read_string(fields, name)
    return None if value is None else one_of(name, value, choices)


def read_choices(fields: Mapping[str, Any], name: str, choices: Sequence[Choice]) -> list[Choice]:
    """An array of some of `choices`, each at most once; none where the field is left out."""
    return list(dict.fromkeys(one_of(name, value, choices) for value in read_strings(fields, name)))


def one_of(name: str, value: str, choices: Sequence[Choice]) -> Choice:
    for choice in choices:
        if choice == value:
            return choice
    raise invalid("invalid_value", f"'{name}' must be one of {', '.join(choices)}", name)


def read_strings(fields: Mapping[str, Any], name: str) -> list[str]:
    values = fields.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise invalid("invalid_type", f"'{name}' must be an array of strings", name)
    return values


def read_flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise invalid("invalid_type", f"'{name}' must be true or false", name)
    return value


def read_number(fields: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) not in (int, float):  # a bool is an int in Python, and not in JSON
        raise invalid("invalid_type", f"'{name}' must be a number", name)
    if not least <= value <= most:
        raise invalid("invalid_value", f"'{name}' must be between {least:g} and {most:g}", name)
    return float(value)
