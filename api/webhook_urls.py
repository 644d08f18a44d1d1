"""The `webhook_url` that a caller names with a call, a job or a batch."""

from collections.abc import Mapping

from api.errors import ApiError
from api.services import Services
from tasks.outgoing import UrlRefused


async def checked_webhook_url(
    services: Services, url: str | None, metadata: Mapping[str, str] | None
) -> str | None:
    """The field `webhook_url`, or else `metadata["webhook_url"]`, where a client allows no other field.

    Raises `ApiError` (invalid_webhook_url) unless events may be sent there.
    """
    if url is not None:
        await check_webhook_url(services, url, param="webhook_url")
        return url
    named = (metadata or {}).get("webhook_url")
    if named is not None:
        await check_webhook_url(services, named, param="metadata.webhook_url")
    return named


async def check_webhook_url(services: Services, url: str, *, param: str) -> None:
    """Raises `ApiError` (invalid_webhook_url) that names `param` unless events may be sent to `url`."""
    try:
        await services.guard.check(url)
    except UrlRefused as refused:
        raise ApiError("invalid_webhook_url", f"Invalid '{param}': {refused}", param=param) from None
