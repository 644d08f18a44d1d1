"""Real weights, real texts, llama.cpp in float16: the vectors against sentence-transformers in float32."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from backends.bert.llamacpp import LlamaCppBackend
from backends.bert.selftest import lowest_cosine
from backends.bert.tokenizer import BertTokenizer
from backends.errors import LoadFailed
from backends.importers.gguf import convert
from backends.types import Done, decode_result
from backends.weights.pull import pull
from configs.settings import Settings
from tests.backends.listed_feed import answers, codes, part, run, vectors
from tests.fixtures.minilm import minilm_spec, stored_texts

pytestmark = pytest.mark.bindings

STORED = stored_texts()


@pytest.fixture(scope="module")
def folder(minilm_folder: Path) -> Path:
    """The model's folder with the GGUF file that the ready spec makes."""
    return pull(minilm_spec(), Settings(), runtimes=["llamacpp"])


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LlamaCppBackend:
    return LlamaCppBackend.load(minilm_spec(), folder, 1)


def embed(backend: LlamaCppBackend, texts: list[str], **fields: object) -> np.ndarray:
    return vectors(answers(run(backend, [part(1, input=texts, **fields)]))[1])


def test_the_ready_model_is_served_in_float16(loaded: LlamaCppBackend) -> None:
    assert loaded.info == {
        "architecture": "bert",
        "precision": "f16",
        "dimensions": 384,
        "max_tokens": 512,
    }


@pytest.mark.slow
def test_real_texts_have_the_vectors_of_the_reference(loaded: LlamaCppBackend) -> None:
    found = embed(loaded, STORED.texts[: STORED.corpus])
    assert lowest_cosine(found, STORED.vectors[: STORED.corpus]) >= 0.999


@pytest.mark.parametrize("name", STORED.names)
def test_a_hard_text_has_the_vector_of_the_reference(loaded: LlamaCppBackend, name: str) -> None:
    at = STORED.corpus + STORED.names.index(name)
    found = embed(loaded, [STORED.texts[at]], overlong="truncate")
    assert lowest_cosine(found, STORED.vectors[at : at + 1]) >= 0.999


def test_512_tokens_pass_and_513_are_refused(loaded: LlamaCppBackend) -> None:
    events = run(loaded, [part(1, input="word " * 510), part(2, input="word " * 511)])
    done = answers(events)[1]
    assert isinstance(done, Done)
    assert decode_result(done.data).tokens == 512
    assert codes(events) == {2: "context_length_exceeded"}


@pytest.mark.parametrize("at", [0, 7, 100, STORED.corpus])
def test_a_vector_does_not_depend_on_its_company(folder: Path, at: int) -> None:
    """The same text alone, as the last of 64 in a call, and beside a text of 500 tokens."""
    spec = minilm_spec()
    encoder = LlamaCppBackend.load_encoder(LlamaCppBackend.read_model(spec, folder), spec, folder, 1)
    tokenizer = LlamaCppBackend.open_tokenizer(spec, folder)
    *company, long_row, row = tokenizer.encode([*STORED.texts[20:83], "word " * 498, STORED.texts[at]])
    assert len(long_row) == 500
    alone = encoder.encode([row])
    assert lowest_cosine(encoder.encode([*company, row])[-1:], alone) >= 0.9999
    assert lowest_cosine(encoder.encode([long_row, row])[-1:], alone) >= 0.9999


def test_llamacpps_own_tokenizer_is_exact_for_english_and_differs_where_it_is_said_to(folder: Path) -> None:
    from backends.bert.llamacpp_tokenizer import LlamaTokenizer

    own = BertTokenizer.from_folder(folder).encode(STORED.texts)
    native = LlamaTokenizer(folder / "model-f16.gguf").encode(STORED.texts)
    assert native[: STORED.corpus] == own[: STORED.corpus]
    differing = {
        name
        for name, left, right in zip(STORED.names, own[STORED.corpus :], native[STORED.corpus :], strict=True)
        if left != right
    }
    assert differing == {"korean", "hindi", "5000 x", "word of 400 characters"}


@pytest.mark.slow
def test_q8_0_is_close_but_not_for_the_accuracy_bar(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "m"
    shutil.copytree(folder, copy, symlinks=True)
    convert(copy, copy / "model-q8_0.gguf", type="q8_0")
    spec = minilm_spec().model_copy(update={"options": {"gguf": "model-q8_0.gguf"}})
    small = LlamaCppBackend.load(spec, copy, 1)
    assert small.info["precision"] == "q8_0"
    assert lowest_cosine(embed(small, STORED.texts[:60]), STORED.vectors[:60]) >= 0.99


def test_other_weights_fail_the_stored_self_test(folder: Path, tmp_path: Path) -> None:
    """One matrix changed: the vectors are finite and wrong, which only a reference can tell."""
    copy = tmp_path / "m"
    shutil.copytree(folder, copy)
    path = copy / "model-f16.gguf"
    path.chmod(0o644)
    data = np.fromfile(path, dtype=np.uint8)
    third = len(data) * 3 // 4
    data[third : third + 1_000_000] = np.roll(data[third : third + 1_000_000], 8192)
    data.tofile(path)
    with pytest.raises(LoadFailed, match="self-test") as refused:
        LlamaCppBackend.load(minilm_spec(), copy, 1)
    assert refused.value.code == "bad_native_build"
