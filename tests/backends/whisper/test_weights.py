"""Tensors by name: what is missing or of another shape is named, what is quantised multiplied out."""

from pathlib import Path

import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.importers.ctranslate2 import Ct2Model, read_model
from backends.whisper.weights import FILE, Weights
from tests.fixtures.tiny_whisper import HIDDEN, MELS, write_tiny_whisper

NAME = "encoder/layer_0/ffn/linear_0/weight"


@pytest.fixture
def model(tmp_path: Path) -> Ct2Model:
    write_tiny_whisper(tmp_path)
    return read_model(tmp_path / FILE)


def test_sizes_are_read_from_the_tensors(model: Ct2Model):
    shape = Weights(model).shape
    assert (shape.hidden, shape.mels, shape.encoder_layers, shape.decoder_layers) == (HIDDEN, MELS, 2, 2)
    assert (shape.positions, shape.text_positions, shape.heads) == (1500, 448, 2)


@pytest.mark.parametrize("name", ["encoder/conv1/weight", "encoder/num_heads", "decoder/embeddings/weight"])
def test_a_file_without_a_tensor_that_says_the_size_is_refused_by_its_name(model: Ct2Model, name: str):
    del model.tensors[name]
    with pytest.raises(LoadFailed, match=name):
        Weights(model)


def test_heads_that_do_not_divide_the_width_are_refused(model: Ct2Model):
    model.tensors["encoder/num_heads"] = np.array(5, dtype=np.int16)
    with pytest.raises(LoadFailed, match="heads"):
        Weights(model)


def test_a_tensor_of_another_shape_is_refused_with_both(model: Ct2Model):
    with pytest.raises(LoadFailed, match=r"\(128, 32\), expected is \(3, 32\)"):
        Weights(model).array(NAME, 3, HIDDEN)


def test_int8_weights_are_multiplied_out_row_by_row(model: Ct2Model):
    exact = Weights(model).array(NAME)
    scale = 127 / np.abs(exact).max(axis=1)
    model.tensors[NAME] = np.rint(exact * scale[:, None]).astype(np.int8)
    model.tensors[f"{NAME}_scale"] = scale.astype(np.float32)
    found = Weights(model).array(NAME)
    assert np.abs(found - exact).max() <= (0.501 / scale).max()


def test_a_scale_that_does_not_fit_is_refused(model: Ct2Model):
    model.tensors[f"{NAME}_scale"] = np.ones(3, np.float32)
    with pytest.raises(LoadFailed, match="scale"):
        Weights(model).array(NAME)


def test_a_linear_layer_without_bias_has_one_of_zeros(model: Ct2Model):
    del model.tensors["encoder/layer_0/ffn/linear_0/bias"]
    _, bias = Weights(model).linear("encoder/layer_0/ffn/linear_0", HIDDEN, 4 * HIDDEN)
    assert bias.shape == (4 * HIDDEN,)
    assert not bias.any()
