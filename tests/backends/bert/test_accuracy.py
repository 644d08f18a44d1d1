"""Real weights, real texts: the vectors against those of sentence-transformers in float32."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from backends.bert.model_folder import BertModel, read_model_folder
from backends.bert.openvino import OpenVINOBackend, OpenVINOEncoder, Precision, open_encoder
from backends.bert.tokenizer import BertTokenizer
from backends.openvino_graphs import capabilities
from backends.types import Done, decode_result
from tests.backends.listed_feed import answers, codes, part, run, vectors
from tests.fixtures.minilm import minilm_spec, stored_texts

STORED = stored_texts()
NO_BF16 = pytest.mark.skipif("BF16" not in capabilities(), reason="this CPU has no bf16")


@dataclass(frozen=True)
class Loaded:
    """The model in one precision. `floor` is the least cosine between two ways of computing one text."""

    model: BertModel
    tokenizer: BertTokenizer
    encoder: OpenVINOEncoder
    floor: float

    def backend(self) -> OpenVINOBackend:
        """One that has seen nothing yet."""
        return OpenVINOBackend(self.model, self.tokenizer, self.encoder)

    def embed(self, texts: list[str], **fields: object) -> np.ndarray:
        return vectors(answers(run(self.backend(), [part(1, input=texts, **fields)]))[1])


@pytest.fixture(scope="module", params=["f32", pytest.param("bf16", marks=NO_BF16)])
def loaded(request: pytest.FixtureRequest, minilm_folder: Path) -> Loaded:
    precision = cast(Precision, request.param)
    model = read_model_folder(minilm_spec(), minilm_folder)
    return Loaded(
        model=model,
        tokenizer=BertTokenizer.from_folder(minilm_folder),
        encoder=open_encoder(model, minilm_folder, 1, precision),
        floor=0.9999 if precision == "f32" else 0.9995,
    )


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def test_enough_texts_are_stored() -> None:
    assert STORED.corpus >= 200
    assert len(STORED.names) >= 11
    assert len(STORED.texts) == len(STORED.vectors) == STORED.corpus + len(STORED.names)


def test_real_texts_have_the_vectors_of_the_reference(loaded: Loaded) -> None:
    found = loaded.embed(STORED.texts[: STORED.corpus])
    assert cosines(found, STORED.vectors[: STORED.corpus]).min() >= 0.999
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("name", STORED.names)
def test_a_hard_text_has_the_vector_of_the_reference(loaded: Loaded, name: str) -> None:
    at = STORED.corpus + STORED.names.index(name)
    found = loaded.embed([STORED.texts[at]], overlong="truncate")
    assert cosines(found, STORED.vectors[at : at + 1])[0] >= 0.999


def test_512_tokens_pass_and_513_are_refused(loaded: Loaded) -> None:
    events = run(loaded.backend(), [part(1, input="word " * 510), part(2, input="word " * 511)])
    done = answers(events)[1]
    assert isinstance(done, Done)
    assert decode_result(done.data).tokens == 512
    assert codes(events) == {2: "context_length_exceeded"}


@pytest.mark.parametrize("at", [0, 100, STORED.corpus])
def test_a_vector_does_not_depend_on_its_company(loaded: Loaded, at: int) -> None:
    """The same text alone, as the last of a batch of 64, and padded to the width of a 500-token text."""
    text = STORED.texts[at]
    company = [other for other in STORED.texts[: STORED.corpus] if len(other) < 120 and other != text][:63]
    long_text = "word " * 498
    rows = loaded.tokenizer.encode([*company, long_text, text])
    alone = loaded.encoder.encode([rows[-1]]).copy()
    in_a_batch = loaded.encoder.encode([*rows[:63], rows[-1]])[-1:].copy()
    beside_a_long_one = loaded.encoder.encode(rows[-2:])[-1:].copy()
    assert (len(rows), len(rows[-2])) == (65, 500)
    assert cosines(in_a_batch, alone)[0] >= loaded.floor
    assert cosines(beside_a_long_one, alone)[0] >= loaded.floor
    assert cosines(loaded.embed([*company, long_text, text])[-1:], alone)[0] >= loaded.floor


def test_the_windows_of_a_text_that_repeats_have_the_mean_of_one(loaded: Loaded) -> None:
    sentence = "The reader turns one page after the other. "
    short, long = loaded.embed([sentence * 50, sentence * 300], overlong="chunk_mean")
    assert short @ long > 0.99
    assert np.linalg.norm(long) == pytest.approx(1.0, abs=1e-5)


def test_the_model_loads_with_its_own_self_test(minilm_folder: Path) -> None:
    backend = OpenVINOBackend.load(minilm_spec(), minilm_folder, 1)
    assert backend.info == {
        "architecture": "bert",
        "precision": "bf16" if "BF16" in capabilities() else "f32",
        "dimensions": 384,
        "max_tokens": 512,
    }
    backend.close()
