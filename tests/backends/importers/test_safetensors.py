"""The safetensors reader: types, shards, and damaged files, which are named and never crash."""

import json
from pathlib import Path

import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.importers.safetensors import read_folder, read_tensors


def write(path: Path, tensors: dict[str, tuple[str, list[int], bytes]], *, padding: int = 0) -> Path:
    """A file as the format describes it; `padding` spaces behind the header's JSON."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    encoded = json.dumps(header).encode() + b" " * padding
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + body)
    return path


NUMBERS = np.array([[1.5, -2.0, 0.25], [0.0, 1024.0, -0.5]], dtype=np.float32)
BF16 = (NUMBERS.view(np.uint32) >> 16).astype("<u2").tobytes()


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("F32", NUMBERS.tobytes()),
        ("F16", NUMBERS.astype("<f2").tobytes()),
        ("F64", NUMBERS.astype("<f8").tobytes()),
        ("BF16", BF16),
    ],
)
@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_floats_of_every_width_are_read_as_float32(
    tmp_path: Path, dtype: str, data: bytes, padding: int
) -> None:
    tensors = read_tensors(write(tmp_path / "t", {"a": (dtype, [2, 3], data)}, padding=padding))
    assert list(tensors) == ["a"]
    assert tensors["a"].dtype == np.float32
    assert tensors["a"].flags.aligned
    assert np.array_equal(tensors["a"], NUMBERS)


def test_whole_numbers_scalars_and_empty_tensors_keep_their_type(tmp_path: Path) -> None:
    ids = np.arange(4, dtype="<i8")
    path = write(
        tmp_path / "t",
        {"ids": ("I64", [4], ids.tobytes()), "one": ("I32", [], b"\5\0\0\0"), "none": ("F32", [0, 3], b"")},
    )
    tensors = read_tensors(path)
    assert np.array_equal(tensors["ids"], ids)
    assert tensors["one"] == 5
    assert tensors["none"].shape == (0, 3)


def test_writing_to_an_array_leaves_the_file_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "t", {"a": ("F32", [2, 3], NUMBERS.tobytes())})
    read_tensors(path)["a"][:] = 0
    assert np.array_equal(read_tensors(path)["a"], NUMBERS)


def test_shards_are_read_through_their_index(tmp_path: Path) -> None:
    write(tmp_path / "one.safetensors", {"a": ("F32", [2, 3], NUMBERS.tobytes())})
    write(tmp_path / "two.safetensors", {"b": ("F32", [6], NUMBERS.tobytes())})
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    tensors = read_folder(tmp_path)
    assert sorted(tensors) == ["a", "b"]
    assert tensors["b"].shape == (6,)


@pytest.mark.parametrize(
    ("weight_map", "word"),
    [
        ({"a": "absent.safetensors"}, "absent.safetensors"),
        ({"b": "one.safetensors"}, "'b'"),
        ({"a": "../one.safetensors"}, "outside"),
        ({"a": 3}, "index.json"),
        ([], "index.json"),
    ],
)
def test_a_wrong_index_is_named(tmp_path: Path, weight_map: object, word: str) -> None:
    write(tmp_path / "one.safetensors", {"a": ("F32", [6], NUMBERS.tobytes())})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(LoadFailed, match=word):
        read_folder(tmp_path)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"no model\.safetensors"):
        read_folder(tmp_path)


def header(**fields: object) -> bytes:
    encoded = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | fields}).encode()
    return len(encoded).to_bytes(8, "little") + encoded


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"\1\2", "2 bytes"),
        (b"\xff" * 8 + b"{}", "byte 0"),
        ((500).to_bytes(8, "little") + b"{}", "byte 0"),
        ((2).to_bytes(8, "little") + b"[]", "header"),
        ((2).to_bytes(8, "little") + b"{x", "header"),
        ((1).to_bytes(8, "little") + b"\xff", "header"),
        (header() + b"1234567", "'a'"),  # the last byte was lost
        (header(data_offsets=[0, 4]) + b"12345678", "'a'"),
        (header(data_offsets=[8, 0]) + b"12345678", "'a'"),
        (header(data_offsets=[-8, 0]) + b"12345678", "'a'"),
        (header(data_offsets=[0, 2**70]) + b"12345678", "'a'"),
        (header(data_offsets=[0, 1.5]) + b"12345678", "header"),
        (header(shape=[-1, -2]) + b"12345678", "'a'"),
        (header(shape=[2**40, 2**40]) + b"12345678", "'a'"),
        (header(dtype="F8_E4M3") + b"12345678", "F8_E4M3"),
        (header(dtype=None) + b"12345678", "header"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(LoadFailed) as caught:
        read_folder(tmp_path)
    assert caught.value.message.startswith("model.safetensors cannot be read")
    assert word in caught.value.message
