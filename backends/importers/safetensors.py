"""Reads `*.safetensors` files, one or sharded, with numpy alone.

Format (safetensors' own README): eight bytes little-endian length of the header, the header as JSON
(name → dtype, shape, data_offsets from the header's end), then the tensors' bytes. A sharded model has
`model.safetensors.index.json`, whose `weight_map` says which file holds which tensor.
"""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from backends.errors import LoadFailed

HEADER_LIMIT = 100_000_000  # the format's own bound
# BF16 has no numpy type: it is read as its bits and widened by `_widen`.
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
}


class Entry(msgspec.Struct, frozen=True):
    """One tensor as the header describes it."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class Tensors(Mapping[str, npt.NDArray[Any]]):
    """Name → array. Arrays lie in the mapped file, floats of other widths as float32. They may be written
    to (OpenVINO only shares memory that may be); the file itself never changes."""

    def __init__(self, files: Mapping[str, tuple[npt.NDArray[np.uint8], Entry]]) -> None:
        self._files = files

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        data, entry = self._files[name]
        start, stop = entry.data_offsets
        array = np.frombuffer(data[start:stop], dtype=DTYPES[entry.dtype]).reshape(entry.shape)
        return np.require(_widen(array, entry.dtype), requirements="A")

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def read_tensors(path: Path) -> Tensors:
    """Map one file. Raises `LoadFailed` naming the file and the byte or tensor at fault."""
    return Tensors(_entries(path))


def read_folder(folder: Path) -> Tensors:
    """Map `model.safetensors`, or the shards of its index. Raises `LoadFailed`."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists() or not index.exists():
        return read_tensors(single)
    try:
        shards = msgspec.json.decode(index.read_bytes(), type=Index).weight_map
    except (OSError, msgspec.MsgspecError) as error:
        raise _broken(index, str(error)) from None
    if any("/" in name or name.startswith(".") for name in shards.values()):
        raise _broken(index, "a shard lies outside the model's folder")
    files = {name: _entries(folder / name) for name in sorted(set(shards.values()))}
    try:
        return Tensors({tensor: files[name][tensor] for tensor, name in shards.items()})
    except KeyError as error:
        raise _broken(index, f"tensor {error} is not in its shard") from None


class Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]


def _entries(path: Path) -> dict[str, tuple[npt.NDArray[np.uint8], Entry]]:
    try:
        data = np.memmap(path, dtype=np.uint8, mode="c")
    except FileNotFoundError:
        raise LoadFailed(f"the model's folder has no {path.name}", code="model_load_failed") from None
    except (OSError, ValueError) as error:
        raise _broken(path, str(error)) from None
    header, start = _header(path, data)
    body = data[start:]
    for name, entry in header.items():
        _check(path, name, entry, len(body))
    return {name: (body, entry) for name, entry in header.items()}


def _header(path: Path, data: npt.NDArray[np.uint8]) -> tuple[dict[str, Entry], int]:
    """The header, and where the tensors' bytes begin."""
    if len(data) < 8:
        raise _broken(path, f"{len(data)} bytes are too few")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > min(HEADER_LIMIT, len(data) - 8):
        raise _broken(path, f"byte 0: a header of {length} bytes does not fit a file of {len(data)}")
    try:
        fields = msgspec.json.decode(data[8 : 8 + length].tobytes(), type=dict[str, msgspec.Raw])
        fields.pop("__metadata__", None)
        return {name: msgspec.json.decode(raw, type=Entry) for name, raw in fields.items()}, 8 + length
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _broken(path, f"header: {error}") from None


def _check(path: Path, name: str, entry: Entry, available: int) -> None:
    if entry.dtype not in DTYPES:
        raise _broken(path, f"tensor '{name}' has type {entry.dtype}, which is not read")
    start, stop = entry.data_offsets
    size = prod(entry.shape) * np.dtype(DTYPES[entry.dtype]).itemsize
    if min(entry.shape, default=0) < 0 or not 0 <= start <= stop <= available or stop - start != size:
        raise _broken(path, f"tensor '{name}' does not lie inside the file (it ends at byte {stop})")


def _widen(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Floats of any width as float32; whole numbers as they are."""
    if dtype == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if dtype in ("F16", "F64") else array


def _broken(path: Path, reason: str) -> LoadFailed:
    return LoadFailed(f"{path.name} cannot be read: {reason}", code="model_load_failed")
