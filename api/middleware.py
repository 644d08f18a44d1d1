"""What wraps every request: its id, its log line, headers of every reply, and the 500 of what nobody caught.

Pure ASGI: the base class for middleware that frameworks offer costs a task and a queue per request, and
hides the client's disconnect from the route.
"""

import secrets
import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import error_response

log = structlog.get_logger(__name__)

OURS = "The server had an error; its log names it under the request id of this reply."


class RequestContext:
    """Gives each HTTP request an id: in `x-request-id` of the reply and on every log line in between."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = f"req_{secrets.token_hex(16)}"
        begun = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers.update(scope.get("state", {}).get("reply_headers", {}))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            except ClientDisconnect:
                log.info("request.abandoned", method=scope["method"], path=scope["path"])
                return
            except Exception:
                log.exception("request.failed", method=scope["method"], path=scope["path"])
                if status:  # too late for an envelope: a cut connection is the only honest signal left
                    raise
                await error_response("server_error", OURS)(scope, receive, send_with_id)
            milliseconds = round((time.perf_counter() - begun) * 1000, 1)
            write = log.debug if _is_quiet(scope["method"], status) else log.info
            write("request.done", method=scope["method"], path=scope["path"], status=status, ms=milliseconds)


def _is_quiet(method: str, status: int) -> bool:
    """Health checks and polls come every second and change nothing; what changes something, or failed, is
    worth a line."""
    return method in ("GET", "HEAD") and status < 400
