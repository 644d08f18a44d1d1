"""Make whisper.cpp's model file of a Whisper model in CTranslate2's form, with numpy alone.

The bytes depend on the input alone, so that a spec can state the digest of the file that comes out.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from backends.errors import LoadFailed
from backends.importers.whisper_tensors import ggml_tensors
from backends.whisper.ggml_file import F16, F32, Q8_0, Sizes, header_of, tensor_header, tensors_of
from backends.whisper.mel import filters
from backends.whisper.tokens import Vocabulary
from backends.whisper.weights import Weights

FileType = Literal["f16", "q8_0"]

FILE_TYPES: dict[FileType, int] = {"f16": 1, "q8_0": 7}  # enum ggml_ftype
BLOCK = 32  # values per q8_0 block


def convert(folder: Path, out: Path, *, type: FileType = "f16") -> None:
    """Write the model in `folder` (model.bin, tokenizer.json) to the ggml file `out`, matrices as `type`.

    Raises `LoadFailed`: files that are missing or broken, or what whisper.cpp's graph does not compute.
    """
    if type not in get_args(FileType):
        known = ", ".join(get_args(FileType))
        raise LoadFailed(f"unknown ggml type '{type}'; known are {known}", code="model_load_failed")
    weights = Weights.read(folder)
    shape = weights.shape
    if shape.feed_forward != 4 * shape.hidden:
        raise LoadFailed("whisper.cpp wants feed-forward layers of four widths", code="model_load_failed")
    sizes = Sizes(
        vocabulary=shape.vocabulary,
        positions=shape.positions,
        hidden=shape.hidden,
        heads=shape.heads,
        encoder_layers=shape.encoder_layers,
        text_positions=shape.text_positions,
        text_hidden=shape.hidden,
        text_heads=shape.heads,
        decoder_layers=shape.decoder_layers,
        mels=shape.mels,
        type=FILE_TYPES[type],
    )
    vocabulary = Vocabulary.read(folder)
    if vocabulary.end != sizes.end:
        raise LoadFailed(
            f"tokenizer.json ends texts with token {vocabulary.end}, model.bin with {sizes.end}",
            code="model_load_failed",
        )
    write_ggml(out, sizes, vocabulary.pieces(list(range(sizes.end))), ggml_tensors(weights))


def write_ggml(
    out: Path, sizes: Sizes, texts: list[bytes], tensors: Iterator[tuple[str, npt.NDArray[np.float32]]]
) -> None:
    """Write one file; `out` appears when it is whole. `texts` are the base tokens, `tensors` come in any
    order; sizes, kinds and shapes are the format's own."""
    expected = {name: (kind, shape) for name, kind, shape in tensors_of(sizes)}
    partial = out.with_name(out.name + ".writing")
    try:
        with partial.open("wb") as file:
            file.write(header_of(sizes))
            mel = filters(sizes.mels)
            file.write(np.array(mel.shape, "<i4").tobytes() + mel.astype("<f4").tobytes())
            file.write(len(texts).to_bytes(4, "little"))
            for text in texts:
                file.write(len(text).to_bytes(4, "little") + text)
            for name, values in tensors:
                kind, shape = expected.pop(name)
                stored = sizes.stored_as(kind)
                file.write(tensor_header(name, shape, stored))
                file.write(encode(values.reshape(shape), stored).tobytes())
        if expected:
            raise LoadFailed(f"the model has no {next(iter(expected))}", code="model_load_failed")
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


def encode(values: npt.NDArray[np.float32], type: int) -> npt.NDArray[Any]:
    """A tensor as ggml stores it: float32, float16, or q8_0, blocks of 32 with their largest value as 127."""
    if type in (F32, F16):
        return values.astype("<f4" if type == F32 else "<f2")
    if type != Q8_0 or values.shape[-1] % BLOCK:
        raise LoadFailed(
            f"rows of {values.shape[-1]} values cannot be stored in blocks", code="model_load_failed"
        )
    blocks = values.reshape(-1, BLOCK)
    steps = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype(np.float32)
    inverse = np.divide(1, steps, out=np.zeros_like(steps), where=steps > 0)
    stored = np.empty(len(blocks), np.dtype([("step", "<f2"), ("values", "i1", BLOCK)]))
    stored["step"] = steps[:, 0]
    stored["values"] = np.round(blocks * inverse)
    return stored
