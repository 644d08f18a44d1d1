"""Forms as the JSON that they stand for."""

import json

import pytest

from api.errors import ApiError
from api.form_fields import Kind, json_of

KINDS: dict[str, Kind] = {
    "temperature": "number",
    "stream": "flag",
    "include": "list",
    "captions": "object",
    "metadata": "texts",
}


def body(*fields: tuple[str, str]) -> object:
    return json.loads(json_of(fields, KINDS))


def test_lists_are_repeated_fields_with_brackets_or_without() -> None:
    assert body(("include[]", "a"), ("include[]", "b")) == {"include": ["a", "b"]}
    assert body(("include", "a")) == {"include": ["a"]}


def test_numbers_flags_and_objects_are_read_as_json_writes_them() -> None:
    assert body(("temperature", "0.2"), ("stream", "True")) == {"temperature": 0.2, "stream": True}
    assert body(("captions[lines]", "2"), ("captions[x]", "y")) == {"captions": {"lines": 2, "x": "y"}}
    assert body(("captions", '{"lines": 1}')) == {"captions": {"lines": 1}}
    assert body(("metadata[n]", "1")) == {"metadata": {"n": "1"}}


def test_what_does_not_read_as_its_kind_stays_text_for_the_endpoint_to_refuse() -> None:
    fields = (("temperature", "warm"), ("stream", "1"), ("captions", "auto"), ("odd[[", "x"))
    assert body(*fields) == dict(fields)
    assert body(("temperature", "NaN"), ("model[]", "m")) == {"temperature": "NaN", "model[]": "m"}


def test_an_empty_field_is_left_out() -> None:
    assert body(("language", ""), ("include[]", ""), ("temperature", "")) == {}


@pytest.mark.parametrize(
    "fields",
    [
        (("model", "a"), ("model", "b")),
        (("captions[max_lines]", "1"), ("captions[max_lines]", "2")),
        (("captions", "{}"), ("captions", "{}")),
        (("captions", "auto"), ("captions[max_lines]", "2")),
    ],
)
def test_what_is_given_twice_is_refused(fields: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(ApiError, match="twice") as caught:
        json_of(fields, KINDS)
    assert caught.value.code == "invalid_value"
