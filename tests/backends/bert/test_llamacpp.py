"""The llama.cpp runtime on tiny models: right vectors, and an error for whatever would end the process.

Each test that could bring the process down does so for pytest's worker, which pytest reports.
"""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest

from backends import builds
from backends.bert.gguf_model import open_model_file, read_model
from backends.bert.llamacpp import LlamaCppBackend
from backends.bert.model_folder import BertModel
from backends.bert.selftest import lowest_cosine
from backends.bert.tiny_model import TINY, tiny_rows, write_tiny
from backends.bert.tokenizer import BertTokenizer
from backends.errors import LoadFailed, PartFailed
from backends.importers.gguf import convert
from configs.models import Limits, ModelFile, ModelSpec
from tests.backends.bert.listed_feed import answers, codes, part, run, vectors
from tests.fixtures.tiny_models import IN_LLAMACPP, comparable, model_folder, stored_rows

if TYPE_CHECKING:
    from backends.bert.llamacpp_encoder import LlamaEncoder

pytestmark = pytest.mark.bindings

SPEC = ModelSpec(name="tiny", family="bert")
SENTENCES = ["the slot keeps its engine loaded", "a", "the the the slot.", "loading, keeping; the engine"]


def encoder_of(path: Path, model: BertModel) -> "LlamaEncoder":
    """Imported here: the module loads the native library."""
    from backends.bert.llamacpp_encoder import LlamaEncoder

    return LlamaEncoder(path, model, precision="f32", threads=1)


def converted(name: str, folder: Path) -> Path:
    model_folder(name, folder)
    convert(folder, folder / "model.gguf", type="f32")
    return folder


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
    folder = converted(name, tmp_path / "m")
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
    """By number (64) and by tokens (512)."""
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
    assert np.isfinite(tiny.encode([[7] * 64] * 8)).all()  # 512 tokens
    assert np.isfinite(tiny.encode([[7] * 64] * 9)).all()


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


# --- a whole backend -----------------------------------------------------------------------------------


def test_bad_items_fail_alone(tmp_path: Path) -> None:
    backend = LlamaCppBackend.load(SPEC, converted("bert", tmp_path / "m"), 1)
    parts = [
        part(1, input=SENTENCES),
        part(2, input=["fine", ""]),
        part(3, input=[[2, 500, 3]]),
        part(4, input="the " * 100),
        part(5, input="\ud800 lone surrogate"),
        part(6, input="the slot", endpoint="/v1/completions"),
        part(7, input=[2, 5, 3]),
        part(8, input="the " * 100, overlong="truncate"),
    ]
    events = run(backend, parts)
    assert codes(events) == {
        2: "empty_input",
        3: "invalid_token_id",
        4: "context_length_exceeded",
        5: "invalid_json",
        6: "endpoint_not_supported",
    }
    found = answers(events)
    assert vectors(found[1]).shape == (4, 32)
    assert np.isfinite(vectors(found[8])).all()
    assert backend.info["precision"] == "f32"
    backend.close()


def test_a_quantised_file_is_held_to_the_bar_of_its_own_weights(tmp_path: Path) -> None:
    folder = model_folder("bert", tmp_path / "m")
    convert(folder, folder / "small.gguf", type="q8_0")
    assert LlamaCppBackend.load(SPEC, folder, 1).info["precision"] == "q8_0"


def test_weights_that_are_not_the_declared_ones_fail_the_self_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A native build that computes something else than numpy does is reported as such."""
    folder, other = converted("bert", tmp_path / "m"), converted("distilbert", tmp_path / "other")
    right = LlamaCppBackend.load_encoder

    def wrong(model: BertModel, spec: ModelSpec, _: Path, threads: int) -> Any:
        return right(model, spec, other, threads)

    monkeypatch.setattr(LlamaCppBackend, "load_encoder", wrong)
    with pytest.raises(LoadFailed, match="self-test") as refused:
        LlamaCppBackend.load(SPEC, folder, 1)
    assert refused.value.code == "bad_native_build"


def test_the_file_that_the_spec_names_is_used(tmp_path: Path) -> None:
    folder = converted("bert", tmp_path / "m")
    convert(folder, folder / "half.gguf", type="f16")
    listed = SPEC.model_copy(
        update={
            "files": tuple(
                ModelFile(path=name, source=f"file:{name}", runtimes=("llamacpp",))
                for name in ("config.json", "half.gguf", "model.gguf")
            )
        }
    )
    assert open_model_file(listed, folder).path.name == "half.gguf"
    assert open_model_file(option(gguf="model.gguf"), folder).path.name == "model.gguf"
    with pytest.raises(LoadFailed, match="has no GGUF file"):
        open_model_file(SPEC, folder)  # two of them, and no word which


def test_a_gguf_file_alone_is_enough(tmp_path: Path) -> None:
    folder = converted("bert", tmp_path / "m")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copyfile(folder / "model.gguf", alone / "any-name.gguf")
    whole, lone = (LlamaCppBackend.load(SPEC, place, 1) for place in (folder, alone))
    assert lone.info == whole.info | {"max_tokens": 64}
    left, right = (vectors(answers(run(one, [part(1, input=SENTENCES)]))[1]) for one in (whole, lone))
    assert lowest_cosine(left, right) >= 0.99999
    assert codes(run(lone, [part(1, input="the " * 63)])) == {1: "context_length_exceeded"}


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta"])
def test_llamacpps_tokenizer_agrees_on_plain_text(name: str, tmp_path: Path) -> None:
    from backends.bert.llamacpp_tokenizer import LlamaTokenizer

    folder = converted(name, tmp_path / "m")
    own, native = BertTokenizer.from_folder(folder), LlamaTokenizer(folder / "model.gguf")
    assert native.encode(SENTENCES[:3]) == own.encode(SENTENCES[:3])
    assert (native.opening, native.closing) == (own.opening, own.closing)
    assert native.encode([""]) == [[*own.opening, *own.closing]]


# --- files that cannot be served -------------------------------------------------------------------------


def load_refusal(spec: ModelSpec, folder: Path) -> str:
    with pytest.raises(LoadFailed) as refused:
        LlamaCppBackend.load(spec, folder, 1)
    assert refused.value.code == "model_load_failed"
    assert str(folder) not in refused.value.message
    return refused.value.message


def damage_nothing(folder: Path) -> None:
    (folder / "model.gguf").unlink()


def cut_it_short(folder: Path) -> None:
    data = (folder / "model.gguf").read_bytes()
    (folder / "model.gguf").write_bytes(data[: len(data) // 2])


def put_text_in_its_place(folder: Path) -> None:
    (folder / "model.gguf").write_text("version https://git-lfs.github.com/spec/v1")


def change_the_config(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))


def write_another_architecture(folder: Path) -> None:
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (damage_nothing, "has no GGUF file"),
        (cut_it_short, "is cut short"),
        (put_text_in_its_place, "is not a GGUF file"),
        (change_the_config, "layers is 2, not 3"),
        (write_another_architecture, "holds a 'llama' model"),
    ],
)
def test_a_file_that_cannot_be_served_is_refused_with_the_reason(
    harm: Callable[[Path], None], expected: str, tmp_path: Path
) -> None:
    folder = converted("bert", tmp_path / "m")
    harm(folder)
    assert expected in load_refusal(SPEC, folder)


def test_llamacpps_own_reason_reaches_the_error(tmp_path: Path) -> None:
    """A file whose header is fine and whose tensors are not those of the graph."""
    folder = tmp_path / "m"
    folder.mkdir()
    path = folder / "model.gguf"
    from backends.bert.tiny_model import tiny_tensors

    write_tiny(path, "f32")
    data = path.read_bytes()
    assert any(name == "blk.1.ffn_up.weight" for name, _ in tiny_tensors())
    path.write_bytes(data.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_Up.weight"))
    with pytest.raises(LoadFailed, match=r"blk\.1\.ffn_up\.weight"):
        LlamaCppBackend.load_encoder(TINY, SPEC, folder, 1)


def test_pooling_and_limits_that_the_model_lacks_are_refused(tmp_path: Path) -> None:
    folder = converted("bert", tmp_path / "m")
    assert "llama.cpp computes mean, cls, last" in load_refusal(option(pooling="max"), folder)
    too_long = SPEC.model_copy(update={"limits": Limits(max_tokens=65)})
    assert "64 positions" in load_refusal(too_long, folder)


def test_a_build_that_does_not_suit_the_cpu_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "instruction_sets", frozenset)
    with pytest.raises(LoadFailed, match="another CPU") as refused:
        LlamaCppBackend.load(SPEC, converted("bert", tmp_path / "m"), 1)
    assert refused.value.code == "bad_native_build"
