"""Requests per minute of an API key, counted by this API process: n processes let n times as many through."""

import math
import time
from collections import deque

from api.errors import ApiError
from tasks.submit import Caller

WINDOW_SECONDS = 60.0


class Rates:
    """A sliding window per key: within any 60 seconds no more requests pass than the key allows."""

    def __init__(self) -> None:
        self._passed: dict[int, deque[float]] = {}  # when, by key; as many as its limit

    def count(self, caller: Caller) -> dict[str, str]:
        """Count a request: the headers that say what is left, as OpenAI names them; none without a limit.

        Raises `ApiError` (rate_limit_exceeded). What is refused does not count.
        """
        limit = caller.requests_per_minute
        if limit is None:
            return {}
        passed = self._passed.setdefault(caller.key_id, deque())
        now = time.monotonic()
        while passed and passed[0] <= now - WINDOW_SECONDS:
            passed.popleft()
        if len(passed) >= limit:
            raise _too_fast(limit, wait=passed[0] + WINDOW_SECONDS - now)
        passed.append(now)
        return _headers(limit, limit - len(passed), reset=WINDOW_SECONDS)


def _headers(limit: int, remaining: int, *, reset: float) -> dict[str, str]:
    """`reset`: seconds until the window is empty, or the next request passes."""
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(remaining),
        "x-ratelimit-reset-requests": f"{reset:.3f}s",
    }


def _too_fast(limit: int, *, wait: float) -> ApiError:
    seconds = math.ceil(wait)
    message = f"This API key may make {limit:,} requests per minute; try again in {seconds} s."
    headers = {**_headers(limit, 0, reset=wait), "retry-after": str(seconds)}
    return ApiError("rate_limit_exceeded", message, headers=headers)
