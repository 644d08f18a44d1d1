"""`/v1/models`: what can be named, and how it stands."""

from fastapi import APIRouter, Response

from api.deps import InReader, InServices
from api.schemas.models import ModelList, model_object
from api.wire import reply

router = APIRouter()


@router.get("/v1/models")
async def list_models(services: InServices, caller: InReader) -> Response:
    states = await services.models.all()
    return reply(ModelList(data=[model_object(state) for state in states]))


@router.get("/v1/models/{name:path}")  # names may hold a slash
async def retrieve_model(name: str, services: InServices, caller: InReader) -> Response:
    return reply(model_object(await services.models.named(name)))
