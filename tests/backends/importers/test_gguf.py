"""GGUF files made of safetensors: right by transformers' own vectors, and the same bytes every time."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from backends.bert import numpy_graph
from backends.bert.gguf_model import read_model
from backends.bert.selftest import lowest_cosine
from backends.bert.tiny_model import TINY, numbers, tiny_rows, write_tiny
from backends.errors import LoadFailed
from backends.gguf_file import read_gguf
from backends.importers.gguf import FileType, convert
from configs.models import ModelSpec
from tests.fixtures.tiny_models import IN_LLAMACPP, comparable, model_folder, stored_rows

SPEC = ModelSpec(name="tiny", family="bert")


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refusal(folder: Path, *, type: Any = "f16") -> str:
    """The message with which the conversion of `folder` is refused; nothing may be left behind."""
    with pytest.raises(LoadFailed) as refused:
        convert(folder, folder / "out.gguf", type=type)
    assert refused.value.code == "model_load_failed"
    assert not list(folder.glob("out.gguf*"))
    return refused.value.message


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("name", IN_LLAMACPP)
def test_a_converted_model_agrees_with_transformers(name: str, pooling: str, tmp_path: Path) -> None:
    folder = model_folder(name, tmp_path / "m")
    convert(folder, folder / "m.gguf", type="f32")
    model = read_model(SPEC.model_copy(update={"options": {"pooling": pooling}}), folder)
    rows, stored = stored_rows(name)
    vectors = numpy_graph.embed(read_gguf(folder / "m.gguf"), model, rows)
    kept = [number for number, row in enumerate(rows) if comparable(row, model)]
    assert len(kept) >= len(rows) - 1
    # What is missing to 1 is the tanh form of GELU.
    assert lowest_cosine(vectors[kept], stored[pooling][kept]) >= 0.9999


def test_the_file_says_what_the_model_is(tmp_path: Path) -> None:
    folder = model_folder("roberta", tmp_path / "m")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    convert(folder, folder / "m.gguf", type="f16")
    metadata = read_gguf(folder / "m.gguf").metadata
    assert metadata["general.architecture"] == "bert"
    assert metadata["bert.context_length"] == 64  # 66 rows, of which RoBERTa never uses the first two
    assert metadata["bert.pooling_type"] == gguf.PoolingType.CLS
    assert metadata["bert.attention.causal"] is False
    assert metadata["bert.embedding_length"] == 32
    assert metadata["tokenizer.ggml.model"] == "gpt2"
    assert metadata["tokenizer.ggml.bos_token_id"] == 0
    assert metadata["tokenizer.ggml.eos_token_id"] == 2


def test_the_gguf_packages_own_reader_finds_the_same_numbers(tmp_path: Path) -> None:
    folder = model_folder("bert", tmp_path / "m")
    convert(folder, folder / "m.gguf", type="f16")
    ours = read_gguf(folder / "m.gguf")
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(folder / "m.gguf").tensors}
    assert ours.tensors.keys() == theirs.keys()
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(
            ours.values(name), gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        )


# Of the formula model, so that they hold for every machine. They change only with the format itself.
DIGESTS = {
    "f32": "d097cb24828a103dc326009e0ccbca0bf5d1bd02796114b6b4a5c0d7d81d869c",
    "f16": "abf3a5b8ec9c48aae9691a0a76d19b831d47ec7afad5a69d7f3a467d051626dc",
    "q8_0": "a8fee7a13d3492dadc3deb41c39b990bca14482e5a32d46cabc70facea3b3f0f",
}


@pytest.mark.parametrize("type", ["f32", "f16", "q8_0"])
def test_the_bytes_depend_on_the_input_alone(type: FileType, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf", type)
    assert hashlib.sha256((tmp_path / "tiny.gguf").read_bytes()).hexdigest() == DIGESTS[type]
    digests = set()
    for name in ("one", "another name"):
        folder = model_folder("xlm-roberta", tmp_path / name)
        convert(folder, folder / f"{name}.gguf", type=type)
        digests.add(hashlib.sha256((folder / f"{name}.gguf").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_disk_that_runs_full_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(writer: gguf.GGUFWriter) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_tiny(tmp_path / "tiny.gguf", "f32")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("type", "error"), [("f32", 0.0), ("f16", 1e-4), ("q8_0", 1.1e-3)])
def test_matrices_are_stored_in_the_type_asked_for_and_vectors_as_they_are(
    type: FileType, error: float, tmp_path: Path
) -> None:
    write_tiny(tmp_path / "tiny.gguf", type)
    file = read_gguf(tmp_path / "tiny.gguf")
    assert file.tensors["blk.0.ffn_up.weight"].type.name.lower() == type
    for name in ("blk.0.ffn_up.bias", "position_embd.weight", "token_types.weight"):
        assert file.tensors[name].type.name == "F32"
    expected = numbers("blk.0.ffn_up.weight", TINY.intermediate, TINY.hidden)
    np.testing.assert_allclose(file.values("blk.0.ffn_up.weight"), expected, atol=error)


def test_the_formula_model_tells_its_rows_apart(tmp_path: Path) -> None:
    """Else a self-test with it would pass whatever a build computes."""
    write_tiny(tmp_path / "tiny.gguf", "f32")
    vectors = numpy_graph.embed(read_gguf(tmp_path / "tiny.gguf"), TINY, tiny_rows())
    likeness = vectors @ vectors.T - 2 * np.eye(len(vectors))
    assert likeness.max() < 0.99


def test_an_architecture_without_a_graph_in_llamacpp_is_refused_by_name(tmp_path: Path) -> None:
    message = refusal(model_folder("mpnet", tmp_path / "m"))
    assert "no graph for 'mpnet'" in message
    assert "openvino" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda config: config.update(hidden_act="relu"), "needs 'relu'"),
        (lambda config: config.update(vocab_size=121), "config.json asks for [121, 32]"),
        (lambda config: config.update(num_hidden_layers=3), "encoder.layer.2."),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], object], expected: str, tmp_path: Path
) -> None:
    folder = model_folder("bert", tmp_path / "m")
    change_json(folder / "config.json", change)
    assert expected in refusal(folder)


def test_pooling_that_llamacpp_lacks_is_refused(tmp_path: Path) -> None:
    folder = model_folder("bert", tmp_path / "m")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    assert "no 'max' pooling" in refusal(folder)


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    assert "unknown GGUF type 'q3_k'" in refusal(model_folder("bert", tmp_path / "m"), type="q3_k")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda file: file["model"].update(type="WordLevel"), "no counterpart of a WordLevel"),
        (lambda file: file["model"].update(vocab={"a": 1, "##a": 500}), "token 500 lies outside"),
        (lambda file: file["model"].update(vocab=None), "not as expected"),
        (lambda file: file["model"]["vocab"].update({"##[MASK]": 100}), "reads as token"),
        (lambda file: file.update(post_processor=None), "exactly one special token"),
        (lambda file: file.update(model=[]), "has no 'model'"),
    ],
)
def test_a_tokenizer_that_llamacpp_could_not_load_is_refused(
    change: Callable[[dict[str, Any]], object], expected: str, tmp_path: Path
) -> None:
    folder = model_folder("bert", tmp_path / "m")
    change_json(folder / "tokenizer.json", change)
    message = refusal(folder)
    assert "tokenizer.json" in message
    assert expected in message


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(missing: str, tmp_path: Path) -> None:
    folder = model_folder("bert", tmp_path / "m")
    (folder / missing).unlink()
    assert missing in refusal(folder)
