"""Read a GGUF file's header and tensors, in Python and with errors: before native code sees the file.

llama.cpp ends the process on some broken files; this names the byte instead. It is also quick where the
`gguf` package's reader takes a second per 30,000 tokens of vocabulary, since the arrays are skipped.

Format: ggml's docs/gguf.md, versions 2 and 3, little-endian.
"""

import mmap
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from backends.errors import LoadFailed

Scalar = int | float | bool | str

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
# struct formats by GGUF value type; 8 is a string, 9 an array.
_FORMATS = dict(enumerate(("<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?"))) | {10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 4


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Where one tensor lies. `shape` is numpy's order, the slowest dimension first."""

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    start: int
    size: int


@dataclass(frozen=True, kw_only=True)
class GGUFFile:
    """A file's scalar metadata, the lengths of its arrays, and its tensors by name."""

    path: Path
    metadata: dict[str, Scalar]
    lengths: dict[str, int]
    tensors: dict[str, Tensor]

    def text(self, key: str, otherwise: str = "") -> str:
        value = self.metadata.get(key, otherwise)
        return value if isinstance(value, str) else otherwise

    def number(self, key: str) -> int:
        """A whole number that must be there. Raises `LoadFailed`."""
        value = self.metadata.get(key)
        if not isinstance(value, int) or value < 0:
            raise LoadFailed(f"{self.path.name} has no whole number under '{key}'", code="model_load_failed")
        return value

    def values(self, name: str) -> npt.NDArray[np.float32]:
        """A tensor as float32, whatever it is stored as. Raises `LoadFailed` when there is none."""
        return self.rows(name, None)

    def rows(self, name: str, numbers: Sequence[int] | None) -> npt.NDArray[np.float32]:
        """The rows `numbers` of a tensor as float32 (None: all): a whole vocabulary may not fit memory."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise LoadFailed(f"{self.path.name} has no tensor '{name}'", code="model_load_failed")
        data = self._bytes[tensor.start : tensor.start + tensor.size].reshape(*tensor.shape[:-1], -1)
        wanted = np.array(data if numbers is None else data[list(numbers)])
        return np.asarray(dequantize(wanted, tensor.type), dtype=np.float32)

    @cached_property
    def _bytes(self) -> npt.NDArray[np.uint8]:
        return np.memmap(self.path, dtype=np.uint8, mode="r")


def read_gguf(path: Path) -> GGUFFile:
    """Read the header of `path`. Raises `LoadFailed` that names the byte at which it makes no sense."""
    with _mapped(path) as data:
        return _read(path, _Cursor(data, path.name))


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    """The file's bytes, without reading those that nobody looks at."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:  # which cannot be mapped
                yield b""
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except OSError as error:
        raise LoadFailed(f"{path.name} cannot be read: {error.strerror}", code="model_load_failed") from None


def _read(path: Path, cursor: "_Cursor") -> GGUFFile:
    if cursor.take(4) != MAGIC:
        raise LoadFailed(f"{path.name} is not a GGUF file", code="model_load_failed")
    version, tensor_count, key_count = cursor.number("<I"), cursor.number("<Q"), cursor.number("<Q")
    if version not in VERSIONS:
        raise LoadFailed(f"{path.name} is GGUF version {version}; 2 and 3 are read", code="model_load_failed")
    metadata: dict[str, Scalar] = {}
    lengths: dict[str, int] = {}
    for _ in range(key_count):
        key, kind = cursor.string(), int(cursor.number("<I"))
        if kind == _ARRAY:
            lengths[key] = cursor.skip_array()
        else:
            metadata[key] = cursor.scalar(kind)
    infos = [cursor.tensor() for _ in range(tensor_count)]
    tensors = _placed(infos, metadata, cursor)
    return GGUFFile(path=path, metadata=metadata, lengths=lengths, tensors=tensors)


@dataclass(frozen=True)
class _Info:
    """One tensor's entry in the header; `offset` counts from the start of the data."""

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    offset: int


def _placed(infos: list[_Info], metadata: dict[str, Scalar], cursor: "_Cursor") -> dict[str, Tensor]:
    """The tensors with their places in the file, all of them inside it."""
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise cursor.broken("the alignment is no positive number")
    data = -(-cursor.at // alignment) * alignment
    tensors = {}
    for info in infos:
        per_block, block_bytes = GGML_QUANT_SIZES[info.type]
        count = prod(info.shape)
        if not info.shape or info.shape[-1] % per_block:
            raise cursor.broken(f"tensor '{info.name}' has rows that are no whole number of blocks")
        size, start = count // per_block * block_bytes, data + info.offset
        if start + size > cursor.size:
            raise LoadFailed(
                f"{cursor.name} is cut short: '{info.name}' ends at byte {start + size} of {cursor.size}",
                code="model_load_failed",
            )
        tensors[info.name] = Tensor(name=info.name, shape=info.shape, type=info.type, start=start, size=size)
    return tensors


class _Cursor:
    """Reads the header from front to back; whatever makes no sense raises `LoadFailed` with its byte."""

    def __init__(self, data: mmap.mmap | bytes, name: str) -> None:
        self._data = data
        self.name = name
        self.size = len(data)
        self.at = 0

    def broken(self, why: str) -> LoadFailed:
        return LoadFailed(f"{self.name}, byte {self.at}: {why}", code="model_load_failed")

    def take(self, count: int) -> bytes:
        start = self.at
        self._skip(count)
        return self._data[start : self.at]

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def string(self) -> str:
        data = self.take(self.number("<Q"))
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise self.broken("a text is not valid UTF-8") from None

    def scalar(self, kind: int) -> Scalar:
        if kind == _STRING:
            return self.string()
        if kind not in _FORMATS:
            raise self.broken(f"unknown value type {kind}")
        value: Scalar = struct.unpack(_FORMATS[kind], self.take(struct.calcsize(_FORMATS[kind])))[0]
        return value

    def skip_array(self) -> int:
        """Step over an array of scalars or texts; returns its length."""
        kind, length = int(self.number("<I")), self.number("<Q")
        if kind == _STRING:
            for _ in range(length):
                self._skip(self.number("<Q"))
        elif kind in _FORMATS:
            self._skip(length * struct.calcsize(_FORMATS[kind]))
        else:
            raise self.broken(f"an array of unknown value type {kind}")
        return length

    def tensor(self) -> _Info:
        name, dimensions = self.string(), self.number("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise self.broken(f"tensor '{name}' has {dimensions} dimensions")
        shape = tuple(self.number("<Q") for _ in range(dimensions))[::-1]
        kind = self.number("<I")
        try:
            return _Info(name, shape, GGMLQuantizationType(kind), self.number("<Q"))
        except ValueError:
            raise self.broken(f"tensor '{name}' has unknown type {kind}") from None

    def _skip(self, count: int) -> None:
        if count > self.size - self.at:
            raise self.broken("the file ends inside its header")
        self.at += count
