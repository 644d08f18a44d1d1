"""The llama.cpp runtime on tiny models: right vectors, and an error for whatever would end the process.

Each test that could bring the process down does so for pytest's worker, which pytest reports.
"""

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backends.bert.gguf_model import read_model
from backends.bert.llamacpp import LlamaCppBackend
from backends.bert.model_folder import BertModel
from backends.bert.selftest import lowest_cosine
from backends.bert.tiny_model import TINY, tiny_rows, write_tiny
from backends.errors import PartFailed
from configs.models import ModelSpec
from tests.fixtures.tiny_models import IN_LLAMACPP, comparable, gguf_folder, stored_rows

if TYPE_CHECKING:
    from backends.bert.llamacpp_encoder import LlamaEncoder

pytestmark = pytest.mark.bindings

SPEC = ModelSpec(name="tiny", family="bert")


def encoder_of(path: Path, model: BertModel) -> "LlamaEncoder":
    """Imported here: the module loads the native library."""
    from backends.bert.llamacpp_encoder import LlamaEncoder

    return LlamaEncoder(path, model, precision="f32", threads=1)


def option(**options: object) -> ModelSpec:
    return SPEC.model_copy(update={"options": options})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> "LlamaEncoder":
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_tiny(path, "f32")
    return encoder_of(path, TINY)


# --- vectors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("name", IN_LLAMACPP)
def test_a_graph_agrees_with_transformers(name: str, pooling: str, tmp_path: Path) -> None:
    folder = gguf_folder(name, tmp_path / "m")
    model = read_model(option(pooling=pooling), folder)
    rows, stored = stored_rows(name)
    found = encoder_of(folder / "model.gguf", model).encode(rows)
    kept = [number for number, row in enumerate(rows) if comparable(row, model)]
    assert lowest_cosine(found[kept], stored[pooling][kept]) >= 0.9999


def test_a_row_has_the_same_vector_alone_and_packed_among_others(tiny: "LlamaEncoder") -> None:
    rows = tiny_rows()
    alone = np.concatenate([tiny.encode([row]) for row in rows])
    for order in (rows, rows[::-1]):
        packed = tiny.encode(order)
        assert lowest_cosine(packed, alone if order is rows else alone[::-1]) >= 0.99999


def test_more_rows_than_a_native_call_holds_are_computed_in_several(tiny: "LlamaEncoder") -> None:
    """By their number and by their tokens."""
    rows = [row for row in tiny_rows() if len(row) > 2]
    for few in (rows[:1], rows[-1:], rows):
        many = (few * 150)[:150]
        found = tiny.encode(many)
        assert lowest_cosine(found, np.tile(tiny.encode(few), (150, 1))[:150]) >= 0.99999


def test_vectors_have_length_one_unless_the_model_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny(path, "f16")
    unit = encoder_of(path, TINY).encode(tiny_rows())
    raw = encoder_of(path, replace(TINY, normalize=False)).encode(tiny_rows())
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert not np.allclose(lengths, 1, atol=0.1)
    np.testing.assert_allclose(raw / lengths, unit, atol=1e-6)


# --- what would end the process, or be cut in silence ----------------------------------------------------


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ([], "empty_input"),
        ([5] * 65, "context_length_exceeded"),
        ([5] * 5000, "context_length_exceeded"),
        ([5, -1], "invalid_token_id"),
        ([5, 96], "invalid_token_id"),
        ([5, 2**31 - 1], "invalid_token_id"),
        ([5, 2**40], "invalid_token_id"),
    ],
)
def test_a_row_that_llamacpp_would_abort_on_is_an_error(
    tiny: "LlamaEncoder", row: list[int], code: str
) -> None:
    with pytest.raises(PartFailed) as refused:
        tiny.encode([[5, 6], row])
    assert refused.value.code == code
    assert np.isfinite(tiny.encode([[5, 6]])).all()


def test_no_rows_give_no_vectors(tiny: "LlamaEncoder") -> None:
    assert tiny.encode([]).shape == (0, TINY.hidden)


def test_the_longest_row_and_a_call_filled_to_the_last_token_are_computed(tiny: "LlamaEncoder") -> None:
    from backends.bert.llamacpp_encoder import CALL_ROWS, CALL_TOKENS

    assert (LlamaCppBackend.max_batch_tokens, LlamaCppBackend.max_rows) == (CALL_TOKENS, CALL_ROWS)
    assert CALL_TOKENS % 64 == 0
    for rows in (CALL_TOKENS // 64, CALL_TOKENS // 64 + 1):
        assert np.isfinite(tiny.encode([[7] * 64] * rows)).all()


@pytest.mark.parametrize("length", [513, 600, 1024, 1500])
def test_a_context_longer_than_a_usual_call_takes_its_longest_row(length: int, tmp_path: Path) -> None:
    """llama.cpp aborts when one row has more tokens than n_ubatch, 512 unless told otherwise."""
    long = replace(TINY, max_positions=length, max_tokens=length)
    path = write_longer(tmp_path / "long.gguf", long)
    encoder = encoder_of(path, long)
    row = [5 + number % 90 for number in range(length)]
    alone = encoder.encode([row])
    assert lowest_cosine(encoder.encode([row[:500], row, row[:3]])[1:2], alone) >= 0.99999


def write_longer(path: Path, model: BertModel) -> Path:
    from backends.bert.tiny_model import SPECIAL, numbers, tiny_tensors
    from backends.importers.gguf import write_gguf
    from backends.importers.gguf_vocabulary import Vocabulary

    words = [f"w{number}" for number in range(model.vocab_size)]
    vocabulary = Vocabulary(kind="bert", tokens=words, types=[1] * len(words), special=dict(SPECIAL))
    tensors = dict(tiny_tensors())
    tensors["position_embd.weight"] = numbers("position_embd", model.max_positions, model.hidden)
    write_gguf(path, model, vocabulary, tensors.items(), type="f32")
    return path


def test_threads_that_share_an_encoder_take_turns(tiny: "LlamaEncoder") -> None:
    rows = tiny_rows()
    expected = tiny.encode(rows)
    lowest: list[float] = []

    def work() -> None:
        lowest.extend(lowest_cosine(tiny.encode(rows), expected) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lowest) == 60
    assert min(lowest) >= 0.99999
