"""The encoder's graph, against CTranslate2's own of the same weights, and the choice of a precision."""

from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.whisper import encoder
from backends.whisper.ct2_decoder import open_model
from backends.whisper.encoder import CTranslate2Encoder, compile_encoder, open_encoder
from backends.whisper.weights import Weights
from configs.models import ModelSpec
from tests.fixtures.tiny_whisper import HIDDEN, MELS, write_tiny_whisper


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    write_tiny_whisper(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> ctranslate2.models.Whisper:
    return open_model(folder, 1, "float32")


def mels(windows: int, frames: int) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 0.3, (windows, MELS, frames)).astype(np.float32)


def spec(**options: str) -> ModelSpec:
    return ModelSpec(name="tiny", family="whisper", options=options)


@pytest.mark.parametrize("frames", [800, 1234, 3000])
def test_states_are_those_of_ctranslate2(folder: Path, model: ctranslate2.models.Whisper, frames: int):
    ours = compile_encoder(Weights.read(folder), folder, 1, "f32")
    found = ours.encode(mels(2, frames))
    assert found.shape == (2, frames // 2, HIDDEN)
    np.testing.assert_allclose(found, CTranslate2Encoder(model).encode(mels(2, frames)), atol=2e-4)


@pytest.mark.parametrize(("precision", "tolerance"), [("int8", 0.05), ("bf16", 0.05)])
def test_faster_precisions_are_near(folder: Path, precision: encoder.Precision, tolerance: float):
    if precision not in encoder.offered():
        pytest.skip(f"this CPU does not compute in {precision}")
    exact = compile_encoder(Weights.read(folder), folder, 1, "f32").encode(mels(2, 900))
    near = compile_encoder(Weights.read(folder), folder, 1, precision).encode(mels(2, 900))
    assert 0 < np.abs(near - exact).mean() < tolerance * np.abs(exact).mean()


def test_what_was_returned_stays_when_more_is_encoded(folder: Path):
    ours = compile_encoder(Weights.read(folder), folder, 1, "f32")
    first = ours.encode(mels(1, 800))
    kept = first.copy()
    ours.encode(mels(1, 800) + 1)
    np.testing.assert_array_equal(first, kept)


def test_a_precision_that_the_cpu_does_not_report_is_refused_by_name(
    folder: Path, model: ctranslate2.models.Whisper, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encoder, "offered_precisions", lambda: ["f32"])
    with pytest.raises(LoadFailed, match="'bf16'"):
        open_encoder(spec(precision="bf16"), Weights.read(folder), model, folder, 1)


def test_a_precision_that_does_not_compile_leaves_the_next_one(
    folder: Path, model: ctranslate2.models.Whisper, monkeypatch: pytest.MonkeyPatch
):
    def refusing(weights: Weights, folder: Path, threads: int, precision: str) -> encoder.OpenVINOEncoder:
        if precision != "f32":
            raise LoadFailed("no kernel", code="model_load_failed")
        return compile_encoder(weights, folder, threads, "f32")

    monkeypatch.setattr(encoder, "compile_encoder", refusing)
    assert open_encoder(spec(), Weights.read(folder), model, folder, 1).precision == "f32"


def test_where_none_compiles_ctranslate2_encodes(
    folder: Path, model: ctranslate2.models.Whisper, monkeypatch: pytest.MonkeyPatch
):
    def refusing(*_: object) -> encoder.OpenVINOEncoder:
        raise LoadFailed("no kernel", code="model_load_failed")

    monkeypatch.setattr(encoder, "compile_encoder", refusing)
    assert open_encoder(spec(), Weights.read(folder), model, folder, 1).precision == "ctranslate2"
