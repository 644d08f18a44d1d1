"""The OpenAPI document: every route is in it and says what its bodies are, and it is valid."""

import re
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from fastapi.routing import APIRoute

from api.app import ROUTERS
from api.call_fields import CallFields
from api.openapi import describes, document, is_described
from api.schemas.audio import FORM_KINDS, TRANSCRIPTION_FORM, TranscriptionBody
from api.schemas.embeddings import EmbeddingBody
from backends import transcription
from backends.embeddings import FIELDS
from tests.api.test_documented import plain
from tests.fixtures.stack import Stack

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
def test_a_route_describes_itself(route: APIRoute) -> None:
    assert is_described(route), "give it openapi_extra=describes(…)"


def test_the_served_document_has_every_route_and_every_reference_resolves(stack: Stack) -> None:
    made: dict[str, Any] = httpx.get(f"{stack.url}/openapi.json").json()
    served = {(method, plain(route.path)) for route in ROUTES for method in route.methods}
    found = {(method.upper(), plain(path)) for path, has in made["paths"].items() for method in has}
    assert found == served
    schemas = made["components"]["schemas"]
    assert {name.rpartition("/")[2] for name in references(made)} <= set(schemas)
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_a_described_body_is_the_one_that_is_read() -> None:
    work = document(ROUTES)["components"]["schemas"]["Work"]
    assert work["required"] == ["endpoint"]
    assert work["additionalProperties"] is False
    named = {field.name for field in msgspec.structs.fields(EmbeddingBody)}
    assert named == {*FIELDS, *(field.name for field in msgspec.structs.fields(CallFields))}


def test_a_described_recording_is_the_one_that_is_read() -> None:
    named = {field.name for field in msgspec.structs.fields(TranscriptionBody)}
    assert named == {*transcription.FIELDS, *(field.name for field in msgspec.structs.fields(CallFields))}
    form = {re.sub(r"\[.*", "", name) for name in TRANSCRIPTION_FORM["properties"]}
    assert form - {"file"} <= named
    assert set(FORM_KINDS) <= named


def test_two_structs_of_one_name_are_refused() -> None:
    class Health(msgspec.Struct):
        other: int

    def route(extra: dict[str, Any]) -> APIRoute:
        return APIRoute(f"/{id(extra)}", lambda: None, openapi_extra=extra, response_model=None)

    from api.schemas.operations import Health as ours

    with pytest.raises(ValueError, match="two structs are named Health"):
        document([route(describes(reply=Health)), route(describes(reply=ours))])


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()
