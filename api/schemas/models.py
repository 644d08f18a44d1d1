"""Models on the wire (OpenAI's model object, and how the model stands)."""

from typing import Literal

import msgspec

from api.model_states import ModelState
from backends.registry import FAMILIES


class ModelObject(msgspec.Struct, kw_only=True):
    """`status` and what follows are ours; the official client keeps them as extra fields. `languages`: those
    that the spec says it transcribes, by code; None where the spec says none."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0  # specs carry no date
    owned_by: str = "batchyard"
    status: str
    detail: str | None
    family: str | None
    runtime: str | None
    endpoints: tuple[str, ...]
    languages: list[str] | None
    aliases: tuple[str, ...]
    description: str
    license: str


class ModelList(msgspec.Struct, kw_only=True):
    """Unpaged, as the client expects."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ResumedModel(msgspec.Struct, kw_only=True):
    """`was_paused` false: there was nothing to resume."""

    id: str
    object: Literal["model"] = "model"
    was_paused: bool


def model_object(state: ModelState) -> ModelObject:
    spec = state.spec
    family = FAMILIES.get(spec.family) if spec else None
    return ModelObject(
        id=state.name,
        status=state.status,
        detail=state.detail,
        family=spec.family if spec else None,
        runtime=spec.runtime if spec else None,
        endpoints=family.endpoints if family else (),
        languages=spec.options.get("languages") if spec else None,
        aliases=spec.aliases if spec else (),
        description=spec.description if spec else "",
        license=spec.license if spec else "",
    )
