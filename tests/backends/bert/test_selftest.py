"""The self-test at load: what it lets pass, and the fall back from one precision to the next."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.bert.backend import BertBackend
from backends.bert.encoder import Encoder
from backends.bert.model_folder import BertModel
from backends.bert.selftest import (
    FILE,
    Reference,
    computed_reference,
    lowest_cosine,
    passes,
    stored_reference,
)
from backends.errors import LoadFailed
from configs.models import ModelSpec
from tests.backends.bert.shapes import MODEL, CountingEncoder, tokenizer
from tests.fixtures.tiny_tokenizers import write_tokenizer

TOKENIZER = tokenizer()


class Skewed(CountingEncoder):
    """Good in one direction; `skew` turns its vectors away, `nan` spoils the first."""

    def __init__(self, precision: str, skew: float = 0.0, nan: bool = False) -> None:
        super().__init__()
        self.precision = precision
        self._skew, self._nan = skew, nan

    def encode(self, batch: list[list[int]]) -> np.ndarray:
        vectors = super().encode(batch)
        vectors[:, 0] += self._skew * np.linalg.norm(vectors, axis=1)
        if self._nan:
            vectors[0, 0] = np.nan
        return vectors


def reference() -> Reference:
    return computed_reference(CountingEncoder(), MODEL, TOKENIZER)


def test_a_right_encoder_passes_and_a_skewed_or_spoiled_one_does_not() -> None:
    assert passes(Skewed("a"), MODEL, TOKENIZER, reference())
    assert passes(Skewed("a", skew=0.02), MODEL, TOKENIZER, reference())
    assert not passes(Skewed("a", skew=0.2), MODEL, TOKENIZER, reference())
    assert not passes(Skewed("a", nan=True), MODEL, TOKENIZER, reference())
    assert passes(Skewed("a", skew=0.2), MODEL, TOKENIZER, replace(reference(), min_cosine=0.9))


def test_without_a_reference_a_text_alone_must_be_the_text_in_company() -> None:
    class Mixing(CountingEncoder):
        def encode(self, batch: list[list[int]]) -> np.ndarray:
            return (
                super().encode(batch) + np.float32(1000 * (len(batch) - 1)) * np.eye(4, dtype=np.float32)[0]
            )

    assert passes(CountingEncoder(), MODEL, TOKENIZER, None)
    assert not passes(Mixing(), MODEL, TOKENIZER, None)
    assert not passes(Skewed("a", nan=True), MODEL, TOKENIZER, None)


def test_cosines_of_zero_vectors_are_nan_and_no_warning() -> None:
    zero, one = np.zeros((1, 4), dtype=np.float32), np.ones((1, 4), dtype=np.float32)
    assert np.isnan(lowest_cosine(zero, one))
    assert lowest_cosine(one, one) == pytest.approx(1.0)
    assert lowest_cosine(one, -one) == pytest.approx(-1.0)


def test_a_stored_reference_is_read_back(tmp_path: Path) -> None:
    assert stored_reference(tmp_path) is None
    np.savez(tmp_path / FILE, texts=np.array(["a", "b"]), vectors=np.eye(2, 4, dtype=np.float16))
    stored = stored_reference(tmp_path)
    assert stored is not None
    assert stored.texts == ["a", "b"]
    assert stored.vectors.dtype == np.float32


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"texts": np.array(["a"])},
        {"texts": np.array(["a"]), "vectors": np.zeros(4)},
        {"texts": np.array(["a", "b"]), "vectors": np.zeros((1, 4))},
        {"texts": np.array([]), "vectors": np.zeros((0, 4))},
        {"texts": np.array(["a"], dtype=object), "vectors": np.zeros((1, 4))},
    ],
)
def test_a_wrong_reference_is_named(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / FILE, **arrays)  # type: ignore[arg-type]
    with pytest.raises(LoadFailed, match=r"selftest\.npz"):
        stored_reference(tmp_path)


def test_a_reference_that_is_no_archive_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.ones(3))
    for content in (b"", b"PK\3\4", b"text", (tmp_path / "array.npy").read_bytes()):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(LoadFailed, match=r"selftest\.npz"):
            stored_reference(tmp_path)


def test_a_reference_of_another_size_is_named() -> None:
    other = Reference(texts=["a"], vectors=np.ones((1, 8), dtype=np.float32))
    with pytest.raises(LoadFailed, match="8 dimensions"):
        passes(CountingEncoder(), MODEL, TOKENIZER, other)


def loaded(folder: Path, *encoders: Encoder) -> BertBackend:
    """What loading makes of a runtime that offers these encoders."""

    class Offering(BertBackend):
        @classmethod
        def encoders(cls, model: BertModel, spec: ModelSpec, folder: Path, threads: int) -> Iterator[Encoder]:
            yield from encoders

        @classmethod
        def load_encoder(cls, model: BertModel, spec: ModelSpec, folder: Path, threads: int) -> Encoder:
            raise NotImplementedError

    shape = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    config = {"model_type": "bert", "vocab_size": 120, "max_position_embeddings": 32}
    (folder / "config.json").write_text(json.dumps(shape | config))
    write_tokenizer(folder, "bert")
    expected = reference()
    np.savez(folder / FILE, texts=np.array(expected.texts), vectors=expected.vectors)
    return Offering.load(ModelSpec(name="m", family="bert"), folder, 1)


def test_the_fastest_precision_that_passes_is_taken(tmp_path: Path) -> None:
    assert loaded(tmp_path, Skewed("bf16"), Skewed("f32")).info["precision"] == "bf16"
    assert loaded(tmp_path, Skewed("bf16", skew=0.2), Skewed("f32")).info["precision"] == "f32"
    assert loaded(tmp_path, Skewed("bf16", nan=True), Skewed("f32")).info["precision"] == "f32"


def test_a_build_that_passes_in_no_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="'m'") as caught:
        loaded(tmp_path, Skewed("bf16", skew=0.2), Skewed("f32", nan=True))
    assert caught.value.code == "bad_native_build"
