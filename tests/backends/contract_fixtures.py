"""The fixtures of a module that runs over contract models: an engine of each, started once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from configs.models import ModelSpec
from tests.backends.contract_asks import Asks
from tests.backends.contract_models import ContractModel
from tests.backends.engine_driver import Driver, driving


def fixtures_over(models: Sequence[ContractModel]) -> tuple[Any, Any, Any, Any, Any]:
    """The fixtures `model`, `folder`, `spec`, `asks` and `driver`, for a module to name so."""

    @pytest.fixture(scope="module", params=list(_params(models)))
    def model(request: pytest.FixtureRequest) -> ContractModel:
        assert isinstance(request.param, ContractModel)
        return request.param

    @pytest.fixture(scope="module")
    def folder(model: ContractModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp(model.id)

    @pytest.fixture(scope="module")
    def spec(model: ContractModel, folder: Path) -> ModelSpec:
        return model.make(folder)

    @pytest.fixture(scope="module")
    def asks(model: ContractModel, tmp_path_factory: pytest.TempPathFactory) -> Asks:
        return model.asks(tmp_path_factory.mktemp("asks"))

    @pytest.fixture(scope="module")
    def driver(model: ContractModel, spec: ModelSpec, folder: Path) -> Iterator[Driver]:
        """One engine for the tests that leave it as they found it."""
        with driving(spec, model.runtime, folder) as driver:
            driver.ready()
            yield driver

    return model, folder, spec, asks, driver


def _params(models: Sequence[ContractModel]) -> Iterator[Any]:
    for model in models:
        marks = [getattr(pytest.mark, name) for name in model.marks]
        if not model.installed:
            marks.append(pytest.mark.skip(reason=f"{model.runtime} is not installed"))
        yield pytest.param(model, id=model.id, marks=marks)
