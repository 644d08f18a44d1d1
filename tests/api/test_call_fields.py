"""Taking the service's own fields out of a call's body: the rest stays as it was written."""

import json

import pytest

from api.call_fields import NONE, CallFields, take_fields
from api.errors import ApiError


@pytest.mark.parametrize(
    "body",
    [
        b'{ "model": "m",  "input": "the word \\"metadata\\": 1" }',
        b"not JSON at all",
    ],
)
def test_a_body_that_names_none_is_left_alone(body: bytes) -> None:
    assert take_fields(body) == (body, NONE)


def test_what_stands_beside_our_fields_is_copied_as_it_is_written() -> None:
    number = b"1.00000000000000000001e3"
    body = b'{"metadata": {"a": "b"}, "input": [ "\\u00e9", ' + number + b'], "webhook_url": "http://x"}'
    rest, fields = take_fields(body)
    assert rest == b'{"input":[ "\\u00e9", ' + number + b"]}"
    assert fields == CallFields(webhook_url="http://x", metadata={"a": "b"})


def test_a_word_in_the_input_is_no_field() -> None:
    rest, fields = take_fields(b'{"input": ["metadata", "webhook_url"]}')
    assert json.loads(rest) == {"input": ["metadata", "webhook_url"]}
    assert fields == NONE


@pytest.mark.parametrize("body", [b'["metadata"]', b'{"metadata": {}', b'{"metadata": 1}', b'"metadata"'])
def test_what_is_no_object_or_no_metadata_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError):
        take_fields(body)
