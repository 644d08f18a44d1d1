"""whisper.cpp's model files: what is in them, and the check of one before native code sees it.

whisper.cpp's loader ends the process on a file that is cut short or is none; this names the byte instead.

Format (whisper.cpp, models/convert-pt-to-ggml.py and `whisper_model_load`; little-endian): magic, eleven
sizes, the mel filters as bands, bins and float32 values, the base vocabulary as a count and texts with their
lengths (the loader adds the special tokens), then tensors to the end of the file: number of dimensions,
length of the name, type, dimensions with the fastest first, name, values.
"""

import struct
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from backends.errors import LoadFailed
from backends.whisper.mel import SIZE as FOURIER_SIZE

MAGIC = 0x67676D6C  # "ggml"
F32, F16, Q8_0 = 0, 1, 8  # enum ggml_type
# By type: values per block and bytes per block (ggml-common.h).
BLOCKS = {F32: (1, 4), F16: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), Q8_0: (32, 34)}
BLOCKS |= {10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210)}
# Type of matrices by the file's type (enum ggml_ftype).
MATRIX_TYPES = {1: F16, 2: 2, 3: 3, 7: Q8_0, 8: 6, 9: 7, 10: 10, 11: 11, 12: 12, 13: 13, 14: 14}
FILE_TYPES = {1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1"}
FILE_TYPES |= {10: "q2_k", 11: "q3_k", 12: "q4_k", 13: "q5_k", 14: "q6_k"}
QUANTIZATION_VERSION_FACTOR = 1000  # a file's type counts it in thousands
MULTILINGUAL_FROM = 51_865  # tokens; one fewer is English only
LARGEST, MOST_LAYERS = 1 << 20, 256  # bounds of sizes, far off

Kind = Literal["vector", "conv", "matrix"]  # vectors are float32, convolutions float16
Tensor = tuple[str, Kind, tuple[int, ...]]  # its shape has the slowest dimension first


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A model's sizes in the order of the file. `type` says how matrices are stored."""

    vocabulary: int
    positions: int
    hidden: int
    heads: int
    encoder_layers: int
    text_positions: int
    text_hidden: int
    text_heads: int
    decoder_layers: int
    mels: int
    type: int

    @property
    def multilingual(self) -> bool:
        return self.vocabulary >= MULTILINGUAL_FROM

    @property
    def languages(self) -> int:
        """How many languages have a token of their own (whisper.cpp, `whisper_vocab::num_languages`)."""
        return self.vocabulary - 51_765 - self.multilingual

    @property
    def end(self) -> int:
        """The end token. Below it lie the tokens of text."""
        return 50_256 + self.multilingual

    @property
    def first_time(self) -> int:
        """The token of 0.00 seconds; times follow it in steps of 0.02."""
        return 50_363 + (self.languages - 98 if self.multilingual else 0)

    @property
    def precision(self) -> str:
        """What the file calls the way in which its matrices are stored."""
        return FILE_TYPES[self.type % QUANTIZATION_VERSION_FACTOR]

    def stored_as(self, kind: Kind) -> int:
        """The ggml type of a tensor."""
        if kind == "matrix":
            return MATRIX_TYPES[self.type % QUANTIZATION_VERSION_FACTOR]
        return F16 if kind == "conv" else F32


@dataclass(frozen=True, kw_only=True)
class GgmlFile:
    """What a file says of itself. `vocabulary` has the bytes of each base token by its number."""

    sizes: Sizes
    vocabulary: list[bytes]


def tensors_of(sizes: Sizes) -> Iterator[Tensor]:
    """Name, kind and shape of every tensor that whisper.cpp wants."""
    width = sizes.hidden
    yield "encoder.positional_embedding", "vector", (sizes.positions, width)
    for number, inputs in ((1, sizes.mels), (2, width)):
        yield f"encoder.conv{number}.weight", "conv", (width, inputs, 3)
        yield f"encoder.conv{number}.bias", "vector", (width, 1)
    for layer in range(sizes.encoder_layers):
        yield from _layer(f"encoder.blocks.{layer}.", ("attn",), width)
    yield from _norm("encoder.ln_post", width)
    yield "decoder.positional_embedding", "vector", (sizes.text_positions, width)
    yield "decoder.token_embedding.weight", "matrix", (sizes.vocabulary, width)
    for layer in range(sizes.decoder_layers):
        yield from _layer(f"decoder.blocks.{layer}.", ("attn", "cross_attn"), width)
    yield from _norm("decoder.ln", width)


def read_ggml(path: Path) -> GgmlFile:
    """Read and check all of a file but the values. Raises `LoadFailed` with the byte at which it makes no
    sense."""
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
    except FileNotFoundError:
        raise LoadFailed(f"the model's folder has no {path.name}", code="model_load_failed") from None
    except (OSError, ValueError) as error:
        raise LoadFailed(f"{path.name} cannot be read: {error}", code="model_load_failed") from None
    cursor = _Cursor(data, path.name)
    if cursor.number("<I") != MAGIC:
        raise cursor.broken("it is no model of whisper.cpp in ggml form")
    sizes = _read_sizes(cursor)
    _check_filters(cursor, sizes)
    vocabulary = _read_vocabulary(cursor, sizes)
    _check_tensors(cursor, sizes)
    return GgmlFile(sizes=sizes, vocabulary=vocabulary)


def header_of(sizes: Sizes) -> bytes:
    """How a file with these sizes begins."""
    return struct.pack("<I11i", MAGIC, *astuple(sizes))


def tensor_header(name: str, shape: tuple[int, ...], type: int) -> bytes:
    encoded = name.encode()
    return struct.pack(f"<{3 + len(shape)}i", len(shape), len(encoded), type, *shape[::-1]) + encoded


def _layer(prefix: str, attentions: tuple[str, ...], width: int) -> Iterator[Tensor]:
    for attention in attentions:
        yield from _norm(f"{prefix}{attention}_ln", width)
        for part in ("query", "key", "value", "out"):
            yield f"{prefix}{attention}.{part}.weight", "matrix", (width, width)
            if part != "key":  # whose bias changes nothing
                yield f"{prefix}{attention}.{part}.bias", "vector", (width,)
    yield from _norm(f"{prefix}mlp_ln", width)
    for part, (rows, columns) in (("0", (4 * width, width)), ("2", (width, 4 * width))):
        yield f"{prefix}mlp.{part}.weight", "matrix", (rows, columns)
        yield f"{prefix}mlp.{part}.bias", "vector", (rows,)


def _norm(name: str, width: int) -> Iterator[Tensor]:
    yield f"{name}.weight", "vector", (width,)
    yield f"{name}.bias", "vector", (width,)


def _read_sizes(cursor: "_Cursor") -> Sizes:
    names = tuple(Sizes.__dataclass_fields__)
    sizes = Sizes(**{name: cursor.number("<i") for name in names})
    for name, value in zip(names[:-1], astuple(sizes), strict=False):
        if not 1 <= value <= (MOST_LAYERS if name.endswith("layers") else LARGEST):
            raise cursor.broken(f"{value} {name.replace('_', ' ')} cannot be")
    if sizes.type == 0:
        raise cursor.broken("whisper.cpp ends the process on float32 files; have it in f16 or q8_0")
    if sizes.type % QUANTIZATION_VERSION_FACTOR not in MATRIX_TYPES or sizes.type < 0:
        raise cursor.broken(f"whisper.cpp has no file type {sizes.type}")
    if sizes.text_hidden != sizes.hidden or sizes.hidden % sizes.heads or sizes.hidden % sizes.text_heads:
        raise cursor.broken("the widths do not fit each other and the heads")
    if sizes.vocabulary < MULTILINGUAL_FROM - 1:
        raise cursor.broken(f"{sizes.vocabulary} tokens are fewer than any Whisper model has")
    if not sizes.vocabulary - sizes.first_time >= sizes.positions:
        raise cursor.broken("it has no tokens for times")
    return sizes


def _check_filters(cursor: "_Cursor", sizes: Sizes) -> None:
    bands, bins = cursor.number("<i"), cursor.number("<i")
    if (bands, bins) != (sizes.mels, FOURIER_SIZE // 2 + 1):
        raise cursor.broken(f"mel filters of {bands} bands and {bins} bins do not fit")
    values = np.frombuffer(cursor.take(4 * bands * bins), "<f4")
    if not ((values >= 0) & (values <= 1)).all():  # also what is no number, on which whisper.cpp crashes
        raise cursor.broken("mel filters are numbers from 0 to 1")


def _read_vocabulary(cursor: "_Cursor", sizes: Sizes) -> list[bytes]:
    count = cursor.number("<i")
    if not sizes.end <= count <= sizes.vocabulary:
        raise cursor.broken(f"a vocabulary of {count} texts does not fit {sizes.vocabulary} tokens")
    return [cursor.take(cursor.number("<I")).tobytes() for _ in range(count)]


def _check_tensors(cursor: "_Cursor", sizes: Sizes) -> None:
    missing = {name: (kind, shape) for name, kind, shape in tensors_of(sizes)}
    while not cursor.at_end:
        dimensions, length, type = (cursor.number("<i") for _ in range(3))
        if not 1 <= dimensions <= 4 or not 1 <= length <= 128:
            raise cursor.broken("here should be a tensor")
        shape = tuple(cursor.number("<i") for _ in range(dimensions))[::-1]
        name = cursor.take(length).tobytes().decode(errors="replace")
        if name not in missing:
            raise cursor.broken(f"there should be no tensor '{name}', or not twice")
        kind, wanted = missing.pop(name)
        if shape != wanted or type != sizes.stored_as(kind):
            raise cursor.broken(f"tensor '{name}' of type {type} and shape {shape} does not fit the sizes")
        per_block, size = BLOCKS[type]
        if shape[-1] % per_block:
            raise cursor.broken(f"tensor '{name}' has rows that are no whole number of blocks")
        cursor.skip(prod(shape) // per_block * size)
    if missing:
        raise cursor.broken(f"the file ends without {len(missing)} tensors, '{next(iter(missing))}' first")


class _Cursor:
    """Reads from front to back; whatever makes no sense raises `LoadFailed` with its byte."""

    def __init__(self, data: npt.NDArray[np.uint8], name: str) -> None:
        self._data = data
        self._name = name
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)

    def broken(self, why: str) -> LoadFailed:
        return LoadFailed(f"{self._name}, byte {self._at}: {why}", code="model_load_failed")

    def skip(self, count: int) -> None:
        if count > len(self._data) - self._at:
            raise self.broken("the file is cut short")
        self._at += count

    def take(self, count: int) -> npt.NDArray[np.uint8]:
        start = self._at
        self.skip(count)
        return self._data[start : self._at]

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)).tobytes())[0])
