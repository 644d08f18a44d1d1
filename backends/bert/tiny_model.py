"""A small BERT made of a formula: what native builds are tested with when no real model is at hand.

Every number follows from its name and place by whole-number arithmetic, so that it is the same on every
machine and with every version of numpy.
"""

from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt

from backends.bert.model_folder import BertModel
from backends.importers.gguf import FileType, write_gguf
from backends.importers.gguf_vocabulary import Vocabulary

# Wide enough for the blocked kernels (AMX tiles, repacked q8_0), small enough for a millisecond.
TINY = BertModel(
    name="tiny",
    architecture="bert",
    hidden=256,
    layers=2,
    heads=4,
    intermediate=512,
    vocab_size=96,
    max_positions=64,
    max_tokens=64,
)
SPECIAL = {"bos": 1, "cls": 1, "seperator": 2, "padding": 0, "unknown": 3, "mask": 4}


def tiny_tensors() -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """The tensors of `TINY` under their GGUF names, float32."""
    hidden, inner = TINY.hidden, TINY.intermediate
    yield "token_embd.weight", numbers("token_embd", TINY.vocab_size, hidden)
    yield "position_embd.weight", numbers("position_embd", TINY.max_positions, hidden)
    yield "token_types.weight", numbers("token_types", 1, hidden)
    yield from _norm("token_embd_norm")
    for layer in (f"blk.{number}." for number in range(TINY.layers)):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield from _linear(layer + name, hidden, hidden)
        yield from _norm(layer + "attn_output_norm")
        yield from _linear(layer + "ffn_up", inner, hidden)
        yield from _linear(layer + "ffn_down", hidden, inner)
        yield from _norm(layer + "layer_output_norm")


def tiny_rows() -> list[list[int]]:
    """Rows of ids between their special tokens, of lengths 2 to 64."""
    return [
        [1, *(5 + (number * 31 + at * 7) % (TINY.vocab_size - 5) for at in range(length)), 2]
        for number, length in enumerate((0, 1, 5, 15, 16, 30, 33, 62))
    ]


def write_tiny(out: Path, type: FileType) -> None:
    """The GGUF file of `TINY`, its matrices as `type`."""
    words = [f"▁w{number}" for number in range(TINY.vocab_size)]
    vocabulary = Vocabulary(kind="bert", tokens=words, types=[1] * len(words), special=dict(SPECIAL))
    write_gguf(out, TINY, vocabulary, tiny_tensors(), type=type)


def numbers(name: str, *shape: int) -> npt.NDArray[np.float32]:
    """Numbers from -0.25 to 0.25, multiples of 2^-17, scattered by `name` and place.

    The mixing is the finalizer of MurmurHash3 (Austin Appleby, public domain). A plain multiplication
    would give matrices of hardly any rank, whose products are all alike.
    """
    mixed = np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(crc32(name.encode()))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        mixed &= np.uint64(0xFFFFFFFF)
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    scattered = (mixed >> np.uint64(16)).astype(np.float32)
    return ((scattered - 2**15) / np.float32(2**17)).reshape(shape)


def _linear(name: str, out: int, into: int) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    yield f"{name}.weight", numbers(f"{name}.weight", out, into)
    yield f"{name}.bias", numbers(f"{name}.bias", out)


def _norm(name: str) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    yield f"{name}.weight", 1 + numbers(f"{name}.weight", TINY.hidden)
    yield f"{name}.bias", numbers(f"{name}.bias", TINY.hidden)
