"""Model files of whisper.cpp: what is read of them, and that nothing broken comes through to native code."""

import struct
from pathlib import Path

import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.importers import whisper_ggml
from backends.whisper.ggml_file import read_ggml, tensor_header
from tests.fixtures.tiny_whisper import HIDDEN, LAYERS, MELS, POSITIONS, TEXT_POSITIONS, write_tiny_whisper

SIZES_AT = 4
HIDDEN_SIZE, HEADS_SIZE, LAYERS_SIZE, MELS_SIZE, TYPE_SIZE = 2, 3, 4, 9, 10
FILTERS_AT = SIZES_AT + 11 * 4
VOCABULARY_AT = FILTERS_AT + 8 + MELS * 201 * 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("ggml")
    write_tiny_whisper(folder)
    whisper_ggml.convert(folder, folder / "ggml.bin")
    return (folder / "ggml.bin").read_bytes()


def with_number(data: bytes, at: int, number: int) -> bytes:
    return data[:at] + struct.pack("<i", number) + data[at + 4 :]


def refusal(folder: Path, data: bytes) -> str:
    (folder / "ggml.bin").write_bytes(data)
    with pytest.raises(LoadFailed) as caught:
        read_ggml(folder / "ggml.bin")
    assert caught.value.code == "model_load_failed"
    return caught.value.message


@pytest.mark.parametrize(
    ("multilingual", "end", "languages", "first_time"), [(False, 50256, 99, 50363), (True, 50257, 99, 50364)]
)
def test_a_file_says_what_its_model_is(
    tmp_path: Path, multilingual: bool, end: int, languages: int, first_time: int
):
    write_tiny_whisper(tmp_path, multilingual=multilingual)
    whisper_ggml.convert(tmp_path, tmp_path / "ggml.bin")

    file = read_ggml(tmp_path / "ggml.bin")

    sizes = file.sizes
    assert (sizes.hidden, sizes.encoder_layers, sizes.decoder_layers) == (HIDDEN, LAYERS, LAYERS)
    assert (sizes.mels, sizes.positions, sizes.text_positions) == (MELS, POSITIONS, TEXT_POSITIONS)
    assert (sizes.multilingual, sizes.end, sizes.first_time) == (multilingual, end, first_time)
    assert sizes.languages == languages
    assert sizes.precision == "f16"
    assert file.vocabulary[256:258] == [b" the", b" slot"]
    assert len(file.vocabulary) == end


@pytest.mark.parametrize(
    ("size", "number", "said"),
    [
        (TYPE_SIZE, 0, "float32"),
        (TYPE_SIZE, 5, "no file type 5"),
        (TYPE_SIZE, 7, "does not fit the sizes"),
        (HEADS_SIZE, 3, "do not fit each other and the heads"),
        (HIDDEN_SIZE, 64, "do not fit each other and the heads"),
        (HIDDEN_SIZE, -1, "-1 hidden cannot be"),
        (MELS_SIZE, 128, "mel filters of 80 bands and 201 bins"),
        (
            LAYERS_SIZE,
            LAYERS + 1,
            "without 15 tensors, 'encoder.blocks.2.attn_ln.weight' first",
        ),
        (LAYERS_SIZE, LAYERS - 1, "there should be no tensor 'encoder.blocks.1"),
        (0, 51_866, "does not fit 51866"),
        (0, 1000, "1000 tokens are fewer"),
        (0, 2**31 - 1, "cannot be"),
    ],
)
def test_sizes_that_cannot_be_are_refused(tmp_path: Path, whole: bytes, size: int, number: int, said: str):
    assert said in refusal(tmp_path, with_number(whole, SIZES_AT + 4 * size, number))


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "ggml.bin"), (b"GGUF" + bytes(100), "no model of whisper.cpp"), (bytes(3), "cut short")],
)
def test_what_is_no_ggml_file_is_refused(tmp_path: Path, data: bytes, said: str):
    assert said in refusal(tmp_path, data)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1e30])
def test_mel_filters_that_would_crash_native_code_are_refused(tmp_path: Path, whole: bytes, value: float):
    at = FILTERS_AT + 8 + 500 * 4
    said = refusal(tmp_path, whole[:at] + struct.pack("<f", value) + whole[at + 4 :])
    assert "mel filters are numbers from 0 to 1" in said


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(LoadFailed, match=r"has no other\.bin"):
        read_ggml(tmp_path / "other.bin")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, whole: bytes):
    lengths = np.random.default_rng(3).integers(FILTERS_AT, len(whole), 12)
    for length in [*range(0, FILTERS_AT + 12, 7), VOCABULARY_AT, VOCABULARY_AT + 6, *lengths, len(whole) - 1]:
        assert "ggml.bin" in refusal(tmp_path, whole[:length])


def test_tensors_twice_or_unknown_are_refused(tmp_path: Path, whole: bytes):
    norm = tensor_header("decoder.ln.bias", (HIDDEN,), 0) + bytes(4 * HIDDEN)
    other = tensor_header("decoder.other.bias", (HIDDEN,), 0) + bytes(4 * HIDDEN)

    assert "'decoder.ln.bias', or not twice" in refusal(tmp_path, whole + norm)
    assert "'decoder.other.bias'" in refusal(tmp_path, whole + other)


def test_flipped_bits_in_headers_raise_nothing_but_refusals(tmp_path: Path, whole: bytes):
    dice = np.random.default_rng(4)
    tensors_at = whole.index(b"encoder.positional_embedding") - 20
    refused = 0
    for first, count in ((0, FILTERS_AT + 8), (VOCABULARY_AT, 12), (tensors_at, 20)):
        for at in range(first, first + count, 2):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << int(dice.integers(8))
            (tmp_path / "ggml.bin").write_bytes(flipped)
            try:
                read_ggml(tmp_path / "ggml.bin")
            except LoadFailed:
                refused += 1
    assert refused > 30  # of 44; a flip in a text changes nothing that could be seen
