"""What routes ask for: the services of this process, and who calls."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, cast

from fastapi import Depends, Request

from api.errors import ApiError
from api.services import Services
from tasks.submit import Caller

Scope = Literal["submit", "read", "admin"]


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


def caller_with(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """The dependency that gives who calls.

    It raises `ApiError` (invalid_api_key, rate_limit_exceeded, insufficient_scope).
    """

    async def caller_of(request: Request) -> Caller:
        services = services_of(request)
        caller = await services.keys.caller(request.headers.get("authorization"))
        request.state.reply_headers = services.rates.count(caller)
        if scope not in caller.scopes:
            message = f"This API key may not do that: it lacks the scope '{scope}'."
            raise ApiError("insufficient_scope", message)
        return caller

    return caller_of


submitter_of = caller_with("submit")

InServices = Annotated[Services, Depends(services_of)]
InReader = Annotated[Caller, Depends(caller_with("read"))]
InSubmitter = Annotated[Caller, Depends(submitter_of)]
InAdmin = Annotated[Caller, Depends(caller_with("admin"))]
