"""Reads a Whisper model's file of CTranslate2 (`model.bin`) with numpy alone.

Format (CTranslate2, `ModelSpec._serialize` of its converters, binary version 6; little-endian): version
u32, name of the specification, its revision u32, number of variables u32; each variable as name, rank u8,
dimensions u32 each, type u8, size in bytes u32, values; then the number of aliases u32, each as its name
and that of the variable it stands for. A text is its length with the closing NUL as u16, then the bytes.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.errors import LoadFailed

Array = npt.NDArray[Any]

VERSION = 6
SPEC, REVISION = "WhisperSpec", 3
BFLOAT16 = 5  # has no numpy type: it is read as its bits and widened
DTYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2", BFLOAT16: "<u2"}
_MOST_DIMENSIONS = 4


@dataclass(frozen=True, kw_only=True)
class Ct2Model:
    """A file's specification and its tensors by name, aliases resolved.

    `tensors` are as stored, float16 and int8 among them, and lie in the mapped file, where nothing is
    aligned; bfloat16 alone is float32. What is quantised has `<name>_scale` beside it: by what the weights
    were multiplied, a factor per row (int8) or one in all (int16). `backends/whisper/weights.py` computes
    with them.
    """

    spec: str
    revision: int
    tensors: dict[str, Array]


def read_model(path: Path) -> Ct2Model:
    """Map one file. Raises `LoadFailed` that names the byte at which it makes no sense."""
    with _mapped(path) as data:
        cursor = _Cursor(data)
        version = cursor.number("<I")
        if version != VERSION:
            raise _refused(f"it is of CTranslate2's binary version {version}; {VERSION} is read")
        spec, revision = cursor.text(), cursor.number("<I")
        if (spec, revision) != (SPEC, REVISION):
            raise _refused(f"it is a {spec} of revision {revision}; {SPEC} {REVISION} is read")
        tensors: dict[str, Array] = {}
        for _ in range(cursor.number("<I")):
            name, values = cursor.variable()
            tensors[name] = values
        for _ in range(cursor.number("<I")):
            alias, name = cursor.text(), cursor.text()
            if name not in tensors:
                raise cursor.broken(f"'{alias}' stands for '{name}', which is not there")
            tensors[alias] = tensors[name]
        return Ct2Model(spec=spec, revision=revision, tensors=tensors)


@contextmanager
def _mapped(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    try:
        # copy on write: OpenVINO only shares memory that may be written to
        data = np.memmap(path, dtype=np.uint8, mode="c")
    except FileNotFoundError:
        raise LoadFailed(f"the model's folder has no {path.name}", code="model_load_failed") from None
    except (OSError, ValueError) as error:
        raise LoadFailed(f"{path.name} cannot be read: {error}", code="model_load_failed") from None
    try:
        yield data
    except LoadFailed as error:
        raise LoadFailed(f"{path.name} cannot be read: {error.message}", code=error.code) from None


class _Cursor:
    """Reads from front to back; whatever makes no sense raises `LoadFailed` with its byte."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self._data = data
        self._at = 0

    def broken(self, why: str) -> LoadFailed:
        return _refused(f"byte {self._at}: {why}")

    def take(self, count: int) -> npt.NDArray[np.uint8]:
        if count > len(self._data) - self._at:
            raise self.broken(f"the file ends after {len(self._data)} bytes, in the middle")
        start = self._at
        self._at += count
        return self._data[start : self._at]

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)).tobytes())[0])

    def text(self) -> str:
        try:
            return self.take(self.number("<H")).tobytes().rstrip(b"\0").decode()
        except UnicodeDecodeError:
            raise self.broken("a name is not valid UTF-8") from None

    def variable(self) -> tuple[str, Array]:
        """Name and values of the next variable."""
        name, rank = self.text(), self.number("<B")
        if rank > _MOST_DIMENSIONS:
            raise self.broken(f"tensor '{name}' has {rank} dimensions")
        shape = tuple(self.number("<I") for _ in range(rank))
        kind, size = self.number("<B"), self.number("<I")
        if kind not in DTYPES:
            raise self.broken(f"tensor '{name}' has the unknown type {kind}")
        if size != prod(shape) * np.dtype(DTYPES[kind]).itemsize:
            raise self.broken(f"tensor '{name}' of shape {shape} has {size} bytes")
        values = np.frombuffer(self.take(size), dtype=DTYPES[kind]).reshape(shape)
        if kind == BFLOAT16:  # the upper half of a float32
            return name, (values.astype(np.uint32) << 16).view(np.float32)
        return name, values


def _refused(reason: str) -> LoadFailed:
    return LoadFailed(reason, code="model_load_failed")
