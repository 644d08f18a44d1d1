"""`docs/api.md` names every route that is served, and no other."""

import re
from pathlib import Path

from fastapi.routing import APIRoute

from api.app import ROUTERS

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
NAMED = re.compile(r"`(GET|POST|DELETE) (/[\w/{}.]*)`")


def plain(path: str) -> str:
    """A path with all its parameters named alike."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_the_page_and_the_routes_agree() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    served = {(method, plain(route.path)) for route in routes for method in route.methods}
    documented = {(method, plain(path)) for method, path in NAMED.findall(PAGE.read_text())}
    assert documented == served
