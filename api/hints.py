"""What to say about a route that is not there: most often a client's `base_url` is at fault."""

from collections.abc import Sequence
from difflib import get_close_matches

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import Match


def wrong_route(request: Request, known: Sequence[str]) -> str:
    """A sentence or two: what was asked, and which of the `known` paths was probably meant."""
    path = request.url.path
    asked = f"Unknown route: {request.method} {path}."
    meant = _meant(path, known)
    if meant is None:
        return f"{asked} docs/api.md lists the routes that are served."
    if path.startswith("/v1/v1/"):
        return f"{asked} Did you mean {meant}? The client's base_url ends in /v1 already."
    if not path.startswith("/v1/") and meant.startswith("/v1/"):
        return f"{asked} Did you mean {meant}? The client's base_url must end in /v1."
    return f"{asked} Did you mean {meant}?"


def wrong_method(request: Request, allowed: Sequence[str]) -> str:
    return f"{request.url.path} does not take {request.method}. It takes {', '.join(allowed)}."


def methods_of(request: Request, routes: Sequence[APIRoute]) -> list[str]:
    """What its path takes. The router looks no further than the first route of a path."""
    here = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in here for method in route.methods or ()})


def _meant(path: str, known: Sequence[str]) -> str | None:
    """The route most like `path`. Its ids are compared as they are: a pattern's `{id}` matches no id."""
    plain = "/v1/" + path.strip("/").removeprefix("v1/").removeprefix("v1/")
    if plain in known:
        return plain
    close = get_close_matches(plain, known, n=1, cutoff=0.8)
    return close[0] if close else None
