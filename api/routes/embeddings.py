"""`/v1/embeddings`. The hot route: what is done here is paid by everyone who waits."""

from dataclasses import dataclass
from functools import partial
from typing import Self

from fastapi import APIRouter, Request, Response

from api.call_bodies import CallBody
from api.calls import Call, answer_call
from api.openapi import describes_call
from api.schemas.embeddings import EmbeddingBody, EmbeddingList
from backends.embeddings import EmbeddingRequest, check_input_count, cut_request
from configs.models import ModelSpec
from configs.settings import Settings
from store.results import ItemResult
from tasks.embedding_bodies import embedding_body
from tasks.render import render_answer

ENDPOINT = "/v1/embeddings"
LARGE_INPUTS = 64  # from here on rendering takes milliseconds
SECONDS_PER_BYTE = 2e-6  # of a small model on one core; texts of any model compare by their bytes

router = APIRouter()


@router.post(ENDPOINT, openapi_extra=describes_call(body=EmbeddingBody, reply=EmbeddingList))
async def create_embeddings(request: Request) -> Response:
    """Queue the inputs as a job of one item, in parts where there are many."""
    return await answer_call(request, ENDPOINT, EmbeddingCall.parse)


@dataclass(frozen=True, kw_only=True)
class EmbeddingCall(Call):
    asked: EmbeddingRequest

    @classmethod
    def parse(cls, body: CallBody, settings: Settings) -> Self:
        """Raises `InvalidBody`."""
        asked, bodies = cut_request(body.json, settings.part_inputs, max_inputs=settings.max_inputs)
        return cls(
            asked=asked,
            model=asked.model,
            bodies=bodies,
            expected_seconds=SECONDS_PER_BYTE * len(body.json),
            renders_slowly=len(asked.inputs) >= LARGE_INPUTS,
        )

    def check(self, spec: ModelSpec) -> None:
        check_input_count(len(self.asked.inputs), spec.limits.max_inputs)

    def render(self, item: ItemResult, spec: ModelSpec) -> bytes:
        return render_answer(
            item, partial(embedding_body, model=spec.name, encoding_format=self.asked.encoding_format)
        )
