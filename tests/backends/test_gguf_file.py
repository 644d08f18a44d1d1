"""The reader of GGUF files, above all what it says of broken ones."""

import random
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.gguf_file import read_gguf


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small file with every kind of value."""
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(512)
    writer.add_causal_attention(False)
    writer.add_layer_norm_eps(0.5)
    writer.add_token_list(["a", "ü", ""])
    writer.add_token_scores([0.0, 1.0, 2.0])
    writer.add_tensor("one", np.arange(64, dtype=np.float32).reshape(2, 32))
    writer.add_tensor("two", np.arange(3, dtype=np.float16))
    quantised = gguf.quants.quantize(np.ones((4, 32), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("three", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def refusal(path: Path) -> str:
    with pytest.raises(LoadFailed) as refused:
        read_gguf(path)
    assert refused.value.code == "model_load_failed"
    assert str(path.parent) not in refused.value.message
    return refused.value.message


def test_metadata_and_tensors_come_back(file: Path) -> None:
    read = read_gguf(file)
    assert read.text("general.architecture") == "bert"
    assert read.number("bert.context_length") == 512
    assert read.metadata["bert.attention.causal"] is False
    assert read.metadata["bert.attention.layer_norm_epsilon"] == 0.5
    assert read.lengths == {"tokenizer.ggml.tokens": 3, "tokenizer.ggml.scores": 3}
    np.testing.assert_array_equal(read.values("one"), np.arange(64).reshape(2, 32))
    np.testing.assert_array_equal(read.rows("one", [1, 0, 1])[:, 0], [32, 0, 32])
    np.testing.assert_array_equal(read.values("two"), [0, 1, 2])
    np.testing.assert_allclose(read.rows("three", [3]), np.ones((1, 32)), atol=1e-3)
    assert read.values("one").dtype == np.float32


def test_what_is_not_there_is_named(file: Path) -> None:
    read = read_gguf(file)
    with pytest.raises(LoadFailed, match="no tensor 'four'"):
        read.values("four")
    with pytest.raises(LoadFailed, match=r"under 'bert\.block_count'"):
        read.number("bert.block_count")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "byte 0: the file ends inside its header"),
        (b"GG", "byte 0: the file ends inside its header"),
        (b"PK\3\4 a zip file", "is not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "is GGUF version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "byte 24: the file ends inside its header"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "byte 24: the file ends inside its header"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63) + b"key", "the file ends inside its header"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2) + b"\xff\xfe" + bytes(4), "not valid UTF-8"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 13), "unknown value type 13"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1) + b"t" + struct.pack("<I", 9), "has 9 dimensions"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1) + b"t" + struct.pack("<IQIQ", 1, 4, 99, 0), "type 99"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused_with_its_byte(
    content: bytes, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith("broken.gguf")
    assert expected in message


def test_a_file_cut_anywhere_is_refused(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    end_of_data = len(whole.rstrip(b"\0"))  # the padding behind the last tensor may go
    for length in [*range(0, 600, 7), len(whole) // 2, end_of_data - 40]:
        cut = tmp_path / "cut.gguf"
        cut.write_bytes(whole[:length])
        assert "cut.gguf" in refusal(cut)


def test_damaged_bytes_never_give_anything_but_a_refusal(file: Path, tmp_path: Path) -> None:
    dice = random.Random(7)
    whole = bytearray(file.read_bytes())
    refused = 0
    for _ in range(400):
        damaged = whole.copy()
        for _ in range(dice.randrange(1, 5)):
            damaged[dice.randrange(600)] = dice.randrange(256)
        path = tmp_path / "damaged.gguf"
        path.write_bytes(damaged)
        try:
            read_gguf(path)
        except LoadFailed:
            refused += 1
    assert refused > 100


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.gguf")
    assert "directory" in refusal(tmp_path)
