"""Which models can be named, and how each stands: ready, not pulled, paused, or broken.

What is said of files is what this process sees; a worker on another host may have its own. So a call is
never refused for missing files here: its job waits, or fails, where it would be computed.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from psycopg_pool import AsyncConnectionPool

from api.errors import ApiError
from backends.errors import LoadFailed
from backends.registry import family_of
from backends.weights.cache import missing_files, model_folder, served_runtimes
from configs.models import ModelSpec
from configs.settings import Settings
from configs.spec_files import Catalogue
from store.db import borrow
from store.models import paused_models

REFRESH_SECONDS = 2.0  # how soon a spec that was added or changed is seen
MOST_NAMED = 20

Status = Literal["ready", "not_pulled", "paused", "broken"]


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """A model and how it stands; `detail` says what to do about it. A broken spec has no `spec`."""

    name: str
    status: Status
    detail: str | None = None
    spec: ModelSpec | None = None


class ModelStates:
    """The catalogue, kept fresh, and what is known of its models."""

    def __init__(self, settings: Settings, catalogue: Catalogue, pool: AsyncConnectionPool) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._pool = pool
        self._refresh_at = 0.0

    def find(self, name: str, endpoint: str) -> ModelSpec:
        """The spec for a call to `endpoint`. Raises `ApiError` (model_not_found, endpoint_not_supported)."""
        self._refresh()
        spec = self._catalogue.find(name)
        if spec is None:
            raise self.unknown(name)
        if endpoint not in family_of(spec.family).endpoints:
            message = f"The model '{name}' (family {spec.family}) does not serve {endpoint}."
            raise ApiError("endpoint_not_supported", message, param="model")
        return spec

    def unknown(self, name: str) -> ApiError:
        broken = next((state for state in self._broken() if state.name == name), None)
        if broken is not None:
            message = f"The spec of model '{name}' is broken: {broken.detail}."
        else:
            known = sorted(self._catalogue.specs)
            more = ", …" if len(known) > MOST_NAMED else ""
            message = (
                f"The model '{name[:128]}' does not exist; there are {', '.join(known[:MOST_NAMED])}{more}."
            )
        return ApiError("model_not_found", message, param="model")

    async def all(self) -> list[ModelState]:
        """Every model, broken ones too, by name. Raises `DatabaseUnavailable`."""
        self._refresh()
        async with borrow(self._pool) as conn:
            pauses = await paused_models(conn)
        states = [self._state_of(spec, pauses.get(spec.name)) for spec in self._catalogue.specs.values()]
        return sorted([*states, *self._broken()], key=lambda state: state.name)

    async def named(self, name: str) -> ModelState:
        """One model, by its name or an alias. Raises `ApiError` (model_not_found)."""
        spec = self._catalogue.find(name)
        wanted = spec.name if spec is not None else name
        for state in await self.all():
            if state.name == wanted:
                return state
        raise self.unknown(name)

    def _refresh(self) -> None:
        if time.monotonic() >= self._refresh_at:
            self._catalogue.refresh()
            self._refresh_at = time.monotonic() + REFRESH_SECONDS

    def _state_of(self, spec: ModelSpec, pause: str | None) -> ModelState:
        if pause is not None:
            return ModelState(name=spec.name, status="paused", detail=pause, spec=spec)
        try:
            pulled = self._is_pulled(spec)
        except LoadFailed as error:
            return ModelState(name=spec.name, status="broken", detail=error.message, spec=spec)
        if pulled:
            return ModelState(name=spec.name, status="ready", spec=spec)
        return ModelState(name=spec.name, status="not_pulled", detail=self._how_to_pull(spec), spec=spec)

    def _is_pulled(self, spec: ModelSpec) -> bool:
        """Whether the files of any runtime are complete. Raises `LoadFailed` for an unknown family."""
        folder = model_folder(self._settings, spec)
        return any(not missing_files(spec, folder, name) for name in served_runtimes(spec))

    def _how_to_pull(self, spec: ModelSpec) -> str:
        command = f"batchyard models pull {spec.name}"
        if self._settings.pull == "never" or self._settings.offline:
            return f"its files may not be fetched at first use; run: {command}"
        return f"its files are fetched at first use, or by: {command}"

    def _broken(self) -> Iterator[ModelState]:
        """Spec files that cannot be used, each fault with its file and line."""
        for _, group in groupby(self._catalogue.broken, key=lambda broken: broken.path):
            faults = list(group)
            detail = "; ".join(
                f"{fault.path.name} line {fault.line}: {fault.message}"
                if fault.line
                else f"{fault.path.name}: {fault.message}"
                for fault in faults
            )
            yield ModelState(name=faults[0].model, status="broken", detail=detail)
