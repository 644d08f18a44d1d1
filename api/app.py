"""The HTTP surface: the index of its routers, and what is wrapped around them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api import errors
from api.middleware import RequestContext
from api.routes import (
    audio,
    batches,
    deliveries,
    embeddings,
    events,
    files,
    job_items,
    jobs,
    keys,
    models,
    operations,
    uploads,
    usage,
    webhooks,
)
from api.services import Services, open_services
from configs.settings import Settings

ROUTERS = (
    models.router,
    embeddings.router,
    audio.router,
    files.router,
    uploads.router,
    batches.router,
    jobs.router,
    job_items.router,
    events.router,
    keys.router,
    usage.router,
    webhooks.router,
    deliveries.router,
    operations.router,
)


def create_app(settings: Settings, services: Services | None = None) -> FastAPI:
    """The application. `services` are opened with it unless they are passed in, open already."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if services is not None:
            app.state.services = services
            yield
            return
        async with open_services(settings) as opened:
            app.state.services = opened
            yield

    app = FastAPI(
        title="Batchyard",
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect has no envelope, and some clients drop the body on the way
        openapi_url=None,  # bodies are read raw, of which FastAPI knows nothing: see `api/openapi.py`
    )
    for router in ROUTERS:
        app.include_router(router)
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    app.state.is_stopping = lambda: False  # for what is answered without end; a server sets its own
    errors.install(app, routes)
    app.add_middleware(RequestContext)
    return app
