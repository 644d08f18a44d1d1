"""Every error leaves in OpenAI's envelope: `{"error": {message, type, param, code}}`, all four keys present.

The official client retries 408, 409, 429 and 5xx; `x-should-retry: false` stops it where a retry cannot heal.
"""

from collections.abc import Mapping, Sequence

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from api.hints import methods_of, wrong_method, wrong_route
from backends.errors import BackendError
from configs.error_codes import status_of, type_of
from store.errors import DatabaseUnavailable, NotMigrated

log = structlog.get_logger(__name__)

NO_RETRY = {"x-should-retry": "false"}


class ApiError(Exception):
    """A request that is refused. `code` is a key of `configs/error_codes.py`, which gives the status."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers


def error_body(code: str, message: str, *, param: str | None = None) -> bytes:
    """The envelope as JSON; its `type` follows from the code's status."""
    error = {"message": message, "type": type_of(status_of(code)), "param": param, "code": code}
    return orjson.dumps({"error": error})


def error_response(
    code: str, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(
        error_body(code, message, param=param),
        status_code=status_of(code),
        media_type="application/json",
        headers=dict(headers) if headers else None,
    )


def install(app: FastAPI, routes: Sequence[APIRoute]) -> None:
    """Register the handlers. What none of them knows becomes a 500 in `api/middleware.py`.

    `routes` are those that are served, for who asks for another.
    """
    app.state.routes = routes
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(BackendError, _refused_by_a_backend)
    app.add_exception_handler(DatabaseUnavailable, _database_unavailable)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(HTTPException, _refused_by_the_router)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error.code, error.message, param=error.param, headers=error.headers)


async def _refused_by_a_backend(request: Request, error: Exception) -> Response:
    assert isinstance(error, BackendError)
    return error_response(error.code, error.message, param=error.param, headers=NO_RETRY)


async def _database_unavailable(request: Request, error: Exception) -> Response:
    log.warning("database.unavailable", error=str(error))
    reason = "The service cannot reach its database"
    if isinstance(error, NotMigrated):
        reason = f"The service cannot work: {error}"
    message = f"{reason}; nothing of this request was accepted. Try again soon."
    return error_response("service_unavailable", message, headers={"retry-after": "1"})


async def _wrong_parameter(request: Request, error: Exception) -> Response:
    """FastAPI's own checks of query and path parameters: 400, as OpenAI answers, not 422."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    names = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"][1:]]
    param = "".join(names).removeprefix(".") or None
    return error_response("invalid_value", f"Invalid '{param}': {first['msg']}.", param=param)


async def _refused_by_the_router(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    routes: Sequence[APIRoute] = request.app.state.routes
    if error.status_code == 404:
        return error_response("not_found", wrong_route(request, [route.path for route in routes]))
    if error.status_code == 405:
        allowed = methods_of(request, routes)
        message = wrong_method(request, allowed)
        return error_response("method_not_allowed", message, headers={"allow": ", ".join(allowed)})
    code = "invalid_request" if error.status_code < 500 else "server_error"
    return error_response(code, str(error.detail), headers=error.headers)
