"""The ggml file that is made of a CTranslate2 folder has the same weights, under whisper.cpp's names."""

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.importers import whisper_ggml
from backends.importers.ctranslate2 import read_model
from backends.whisper.ggml_file import F16, F32, Q8_0
from backends.whisper.mel import filters
from tests.fixtures.ctranslate2_files import ctranslate2_file
from tests.fixtures.tiny_whisper import HIDDEN, MELS, write_tiny_whisper

TIED = {"decoder/projection/weight": "decoder/embeddings/weight"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_tiny_whisper(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """One of its own to change."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def tensors_in(path: Path) -> dict[str, tuple[int, np.ndarray]]:
    """Type and values of each, read as whisper.cpp's loader does, one after the other."""
    data = path.read_bytes()
    at = 4 + 11 * 4 + 8 + MELS * 201 * 4
    (texts,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(texts):
        at += 4 + struct.unpack_from("<I", data, at)[0]
    found = {}
    while at < len(data):
        rank, length, kind = struct.unpack_from("<3i", data, at)
        shape = struct.unpack_from(f"<{rank}i", data, at + 12)[::-1]
        at += 12 + 4 * rank
        name = data[at : at + length].decode()
        at += length
        values, size = stored(data, at, kind, int(np.prod(shape)))
        found[name] = (kind, values.reshape(shape))
        at += size
    return found


def stored(data: bytes, at: int, kind: int, count: int) -> tuple[np.ndarray, int]:
    """Values and how many bytes they take. Q8_0: a float16 step and 32 whole numbers per block."""
    if kind == Q8_0:
        blocks = [struct.unpack_from("<e32b", data, at + 34 * block) for block in range(count // 32)]
        return np.array([[step * value for value in values] for step, *values in blocks]), 34 * len(blocks)
    form = {F32: "<f4", F16: "<f2"}[kind]
    return np.frombuffer(data, form, count, at), count * np.dtype(form).itemsize


def changed(folder: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write the model again with another tensor."""
    tensors = {
        each: values for each, values in read_model(folder / "model.bin").tensors.items() if each not in TIED
    }
    tensors[name] = change(tensors[name].copy())
    (folder / "model.bin").write_bytes(ctranslate2_file(tensors, TIED))


def test_every_weight_is_that_of_the_model(folder: Path):
    whisper_ggml.convert(folder, folder / "ggml.bin")

    found, source = tensors_in(folder / "ggml.bin"), read_model(folder / "model.bin").tensors
    attention = source["decoder/layer_1/self_attention/linear_0/weight"]
    crossed = source["decoder/layer_0/attention/linear_1/weight"]
    expected = {
        "encoder.conv1.weight": (F16, source["encoder/conv1/weight"]),
        "encoder.conv2.bias": (F32, source["encoder/conv2/bias"][:, None]),
        "encoder.positional_embedding": (F32, source["encoder/position_encodings/encodings"]),
        "decoder.token_embedding.weight": (F16, source["decoder/embeddings/weight"]),
        "decoder.blocks.1.attn.query.weight": (F16, attention[:HIDDEN]),
        "decoder.blocks.1.attn.key.weight": (F16, attention[HIDDEN : 2 * HIDDEN]),
        "decoder.blocks.1.attn.value.weight": (F16, attention[2 * HIDDEN :]),
        "decoder.blocks.0.cross_attn.key.weight": (F16, crossed[:HIDDEN]),
        "decoder.blocks.0.cross_attn.value.weight": (F16, crossed[HIDDEN:]),
        "decoder.blocks.0.cross_attn.out.weight": (F16, source["decoder/layer_0/attention/linear_2/weight"]),
        "encoder.blocks.1.mlp.2.weight": (F16, source["encoder/layer_1/ffn/linear_1/weight"]),
        "decoder.ln.weight": (F32, source["decoder/layer_norm/gamma"]),
    }
    for name, (kind, values) in expected.items():
        assert found[name][0] == kind, name
        np.testing.assert_array_equal(found[name][1], values, err_msg=name)
    assert not [name for name in found if name.endswith("key.bias")]
    assert len(found) == 11 + 2 * 15 + 2 * 24  # as whisper.cpp counts them, for two layers each


def test_blocks_are_as_near_as_their_steps_allow(folder: Path):
    whisper_ggml.convert(folder, folder / "ggml.bin", type="q8_0")

    found, source = tensors_in(folder / "ggml.bin"), read_model(folder / "model.bin").tensors
    kind, values = found["encoder.blocks.0.mlp.0.weight"]
    wanted = source["encoder/layer_0/ffn/linear_0/weight"].astype(float)
    steps = np.abs(wanted.reshape(-1, 32)).max(axis=1).repeat(32).reshape(wanted.shape) / 127
    assert kind == Q8_0
    assert (np.abs(values - wanted) <= 0.51 * steps + 1e-3 * np.abs(wanted)).all()
    assert found["encoder.conv1.weight"][0] == F16


def test_the_file_depends_on_the_model_alone_and_has_the_mel_filters(folder: Path):
    (folder / "other").mkdir()
    whisper_ggml.convert(folder, folder / "ggml.bin")
    whisper_ggml.convert(folder, folder / "other" / "another.bin")

    data = (folder / "ggml.bin").read_bytes()
    assert data == (folder / "other" / "another.bin").read_bytes()
    held = np.frombuffer(data, "<f4", MELS * 201, 4 + 11 * 4 + 8)
    np.testing.assert_array_equal(held.reshape(MELS, 201), filters(MELS))


def test_what_whisper_cpp_does_not_compute_is_refused_and_leaves_no_file(folder: Path):
    changed(folder, "decoder/layer_1/attention/linear_1/bias", lambda bias: bias + 1)

    with pytest.raises(LoadFailed, match=r"no bias of keys, decoder\.blocks\.1\.cross_attn has one"):
        whisper_ggml.convert(folder, folder / "ggml.bin")

    assert not list(folder.glob("ggml*"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("tokenizer.json", None, "no tokenizer.json"),
        ("tokenizer.json", "{}", "tokenizer.json cannot be read"),
        ("model.bin", None, "no model.bin"),
        ("model.bin", "cut", "model.bin cannot be read"),
    ],
)
def test_files_that_lack_or_are_broken_are_named(folder: Path, name: str, text: str | None, said: str):
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)

    with pytest.raises(LoadFailed, match=said):
        whisper_ggml.convert(folder, folder / "ggml.bin")


def test_a_tokenizer_of_another_kind_of_model_is_refused(folder: Path):
    write_tiny_whisper(folder / "multilingual", multilingual=True)
    (folder / "multilingual" / "tokenizer.json").replace(folder / "tokenizer.json")

    with pytest.raises(LoadFailed, match="ends texts with token 50257"):
        whisper_ggml.convert(folder, folder / "ggml.bin")


def test_an_unknown_type_is_refused(folder: Path):
    with pytest.raises(LoadFailed, match="known are f16, q8_0"):
        whisper_ggml.convert(folder, folder / "ggml.bin", type="f32")  # type: ignore[arg-type]
