"""What routes ask for: the services of this process, and who calls."""

from typing import Annotated, cast

from fastapi import Depends, Request

from api.services import Services
from tasks.submit import Caller


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


async def caller_of(request: Request) -> Caller:
    """Who calls. Raises `ApiError` (invalid_api_key)."""
    return await services_of(request).keys.caller(request.headers.get("authorization"))


InServices = Annotated[Services, Depends(services_of)]
InCaller = Annotated[Caller, Depends(caller_of)]
