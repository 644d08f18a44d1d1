"""The hand-built graphs against transformers, on the stored random models (tests/references)."""

from pathlib import Path

import numpy as np
import pytest

from backends.bert.model_config import OFFSET_POSITIONS
from backends.bert.model_folder import read_model_folder
from backends.bert.openvino import OpenVINOEncoder, open_encoder
from backends.bert.selftest import lowest_cosine
from configs.models import ModelSpec
from tests.fixtures.tiny_models import STORED, model_folder, stored_rows

ARCHITECTURES = sorted(folder.name for folder in STORED.iterdir())


def tiny_encoder(name: str, folder: Path, **options: object) -> OpenVINOEncoder:
    """A copy of the model, so that parallel tests do not share one compiled cache."""
    model_folder(name, folder)
    spec = ModelSpec(name=name, family="bert", options=options)
    return open_encoder(read_model_folder(spec, folder), folder, 1, "f32")


def test_every_architecture_that_is_promised_has_a_stored_model() -> None:
    kinds = {
        read_model_folder(ModelSpec(name="m", family="bert"), STORED / name).architecture
        for name in ARCHITECTURES
    }
    assert kinds == {"bert", "distilbert", "roberta", "xlm-roberta", "mpnet"}


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_graph_agrees_with_transformers(name: str, pooling: str, tmp_path: Path) -> None:
    rows, expected = stored_rows(name)
    encoder = tiny_encoder(name, tmp_path, pooling=pooling)
    for size in (1, 4, len(rows)):  # alone, and padded among others
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        vectors = np.concatenate([encoder.encode(batch).copy() for batch in batches])
        assert lowest_cosine(vectors, expected[pooling]) >= 0.99999
        np.testing.assert_allclose(vectors, expected[pooling], atol=5e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_without_normalisation_only_the_length_differs(name: str, tmp_path: Path) -> None:
    rows, expected = stored_rows(name)
    vectors = tiny_encoder(name, tmp_path, normalize=False).encode(rows)
    lengths = np.linalg.norm(vectors, axis=1)
    assert not np.allclose(lengths, 1.0, atol=0.01)
    np.testing.assert_allclose(vectors / lengths[:, None], expected["mean"], atol=5e-6)


def test_the_stored_rows_reach_the_last_position_and_hold_padding_as_text() -> None:
    for name in ARCHITECTURES:
        model = read_model_folder(ModelSpec(name="m", family="bert"), STORED / name)
        rows, _ = stored_rows(name)
        assert [len(rows[0]), len(rows[1])] == [1, model.max_positions]
        assert model.pad_id in rows[2]
        assert (model.position_offset > 0) == (model.architecture in OFFSET_POSITIONS)
