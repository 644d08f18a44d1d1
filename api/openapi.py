"""The OpenAPI document, made from the routes.

FastAPI knows paths and parameters. Bodies are read raw and replies are msgspec structs, of which it knows
nothing: each route says what they are by `openapi_extra=describes(…)`.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.schemas.jobs import JobObject
from api.schemas.lists import Page
from api.wire import JSON

Schema = dict[str, Any]
Described = type[msgspec.Struct] | Schema  # a struct, or a schema where no struct exists

REF = "#/components/schemas/{name}"
BINARY: Schema = {"type": "string", "format": "binary"}
TEXT: Schema = {"type": "string"}
# One of an event stream (its data is JSON): tools read the schema of such a stream as that of each event.
EVENT: Schema = {
    "type": "object",
    "properties": {"id": TEXT, "event": TEXT, "data": TEXT},
    "required": ["data"],
}
ANY: Schema = {}

_OF_CALLS = {
    "Prefer": "respond-async: answer 202 with the job, not with its result",
    "Idempotency-Key": "the same key and body get the job of the first request",
}

# What `describes` leaves for `document` in an operation; neither is in the document.
_COMPONENTS, _RESPONSES = "x-components", "x-responses"

_NULLABLE_TEXT: Schema = {"type": ["string", "null"]}
_ERROR: Schema = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"message": TEXT, "type": TEXT, "param": _NULLABLE_TEXT, "code": TEXT},
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}
_ANY_ERROR = {
    "description": "An error in OpenAI's envelope; docs/errors.md lists the codes.",
    "content": {JSON: {"schema": {"$ref": REF.format(name="Error")}}},
}
_UNDESCRIBED = {"200": {"description": "Done."}}


def describes(
    *,
    body: Described | None = None,
    optional: bool = False,
    form: Schema | None = None,
    reply: Described = ANY,
    page_of: type[msgspec.Struct] | None = None,
    media: str = JSON,
    status: int = 200,
    also: Mapping[int, Described] | None = None,
    headers: Mapping[str, str] | None = None,
    open_door: bool = False,
) -> dict[str, Any]:
    """The `openapi_extra` of a route.

    `body` is its JSON body, `form` the schema of its multipart form (with both, either will do), which may be
    left out if `optional`.
    `reply` comes with `status` as `media`; `page_of` is the reply that lists such objects. `also` are replies
    of other statuses, `headers` request headers and what they mean. `open_door`: it needs no key.
    """
    components: dict[str, Schema] = {}
    described: dict[str, Any] = {_COMPONENTS: components}
    bodies: dict[str, Schema] = {}
    if body is not None:
        bodies[JSON] = {"schema": _schema_of(body, components)}
    if form is not None:
        bodies["multipart/form-data"] = {"schema": form}
    if bodies:
        described["requestBody"] = {"content": bodies, "required": not optional}
    schema = _page_schema(page_of, components) if page_of else _schema_of(reply, components)
    described[_RESPONSES] = {str(status): _content(media, schema) | {"description": "Done."}} | {
        str(other): _content(JSON, _schema_of(kind, components)) | {"description": "See docs/api.md."}
        for other, kind in (also or {}).items()
    }
    if headers:
        described["parameters"] = [
            {"in": "header", "name": name, "required": False, "description": meaning, "schema": TEXT}
            for name, meaning in headers.items()
        ]
    if open_door:
        described["security"] = []
    return described


def describes_call(
    *, body: Described, reply: Described, form: Schema | None = None, media: str = JSON
) -> dict[str, Any]:
    """As `describes`, for the single calls of `api/calls.py`: any of them may be answered with its job."""
    return describes(body=body, form=form, reply=reply, media=media, also={202: JobObject}, headers=_OF_CALLS)


def form_of(file_field: str, fields: Mapping[str, Schema] | None = None, *required: str) -> Schema:
    """The schema of a multipart form with one file."""
    properties = {file_field: BINARY, **(fields or {})}
    return {"type": "object", "properties": properties, "required": [file_field, *required]}


def is_described(route: APIRoute) -> bool:
    """Whether a route says what its bodies are."""
    return route.openapi_extra is not None and _RESPONSES in route.openapi_extra


def document(routes: Sequence[APIRoute]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the routes. Raises ValueError where two structs share a name."""
    made: dict[str, Any] = get_openapi(title="Batchyard", version=version("batchyard"), routes=routes)
    # Of FastAPI's own schemas those of parameters stay, not those of its 422: `api/errors.py` makes it a 400.
    schemas: dict[str, Schema] = made.get("components", {}).get("schemas", {}) | {"Error": _ERROR}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operations in made["paths"].values():
        for operation in operations.values():
            _add(schemas, operation.pop(_COMPONENTS, {}))
            operation["responses"] = operation.pop(_RESPONSES, _UNDESCRIBED) | {"default": _ANY_ERROR}
    made["components"] = {
        "schemas": dict(sorted(schemas.items())),
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    made["security"] = [{"key": []}, {}]  # on loopback any key or none will do while none exists
    return made


def _content(media: str, schema: Schema) -> dict[str, Any]:
    return {"content": {media: {"schema": schema}}}


def _schema_of(kind: Described, components: dict[str, Schema]) -> Schema:
    """The schema, of a struct as a reference; what it refers to goes to `components`."""
    if isinstance(kind, dict):
        return kind
    [schema], found = msgspec.json.schema_components([kind], ref_template=REF)
    _add(components, found)
    return schema


def _page_schema(kind: type[msgspec.Struct], components: dict[str, Schema]) -> Schema:
    schema: Schema = msgspec.json.schema_components([Page], ref_template=REF)[1]["Page"]
    items = {"type": "array", "items": _schema_of(kind, components)}
    return schema | {"properties": schema["properties"] | {"data": items}}


def _add(components: dict[str, Schema], found: Mapping[str, Schema]) -> None:
    for name, schema in found.items():
        if components.setdefault(name, schema) != schema:
            raise ValueError(f"two structs are named {name}")
