"""`/v1/models`: what can be named, and how it stands."""

import asyncio

from fastapi import APIRouter, Response

from api.deps import InAdmin, InReader, InServices
from api.openapi import describes
from api.schemas.models import ModelList, ModelObject, ResumedModel, model_object
from api.services import Services
from api.wire import reply
from store import db
from store.models import resume

router = APIRouter()


@router.get("/v1/models", openapi_extra=describes(reply=ModelList))
async def list_models(services: InServices, caller: InReader) -> Response:
    states = await services.models.all()
    return reply(ModelList(data=[model_object(state) for state in states]))


# Names may hold a slash.
@router.get("/v1/models/{name:path}", openapi_extra=describes(reply=ModelObject))
async def retrieve_model(name: str, services: InServices, caller: InReader) -> Response:
    return reply(model_object(await services.models.named(name)))


@router.post("/v1/models/{name:path}/resume", openapi_extra=describes(reply=ResumedModel))
async def resume_model(name: str, services: InServices, caller: InAdmin) -> Response:
    """Lift a model's pause and forget the strikes of its items: somebody has seen to the cause."""
    state = await services.models.named(name)
    was_paused = await asyncio.to_thread(_resume, services, state.name)
    return reply(ResumedModel(id=state.name, was_paused=was_paused))


def _resume(services: Services, model: str) -> bool:
    assert services.settings.database_url is not None
    with db.connect(services.settings.database_url, name="api-resume") as conn:
        return resume(conn, model)
