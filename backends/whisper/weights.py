"""A Whisper model's tensors under the names of its CTranslate2 file, and the sizes that they have.

Names: CTranslate2's `WhisperSpec`. A linear layer's weight is (out, in); queries, keys and values of
self-attention are one layer, `linear_0`, keys and values of cross-attention another, `linear_1`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backends.errors import LoadFailed
from backends.importers.ctranslate2 import Ct2Model, read_model

FILE = "model.bin"
Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a model. `positions` are those of 30 seconds of audio, `text_positions` of tokens."""

    mels: int
    positions: int
    hidden: int
    heads: int
    feed_forward: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int
    text_positions: int


class Weights:
    """`shape` is read from the tensors themselves.

    Raises `LoadFailed` where they are not a Whisper model's.
    """

    def __init__(self, model: Ct2Model) -> None:
        self._model = model
        hidden, mels, _ = self._dimensions("encoder/conv1/weight", 3)
        self.shape = Shape(
            mels=mels,
            positions=self._dimensions("encoder/position_encodings/encodings", 2)[0],
            hidden=hidden,
            heads=int(self.array("encoder/num_heads").item()),
            feed_forward=self._dimensions("encoder/layer_0/ffn/linear_0/weight", 2)[0],
            encoder_layers=self._layers("encoder"),
            decoder_layers=self._layers("decoder"),
            vocabulary=self._dimensions("decoder/embeddings/weight", 2)[0],
            text_positions=self._dimensions("decoder/position_encodings/encodings", 2)[0],
        )
        if self.shape.heads < 1 or hidden % self.shape.heads:
            raise _wrong(f"its width {hidden} is no multiple of its {self.shape.heads} heads")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Those of the model in `folder`. Raises `LoadFailed`."""
        return cls(read_model(folder / FILE))

    def array(self, name: str, *shape: int) -> Array:
        """The tensor `name` as float32, its own to change. Raises `LoadFailed` when it is missing or not of
        `shape`."""
        tensor = self._tensor(name)
        if shape and tensor.shape != shape:
            raise _wrong(f"tensor '{name}' has shape {tensor.shape}, expected is {shape}")
        values = tensor.astype(np.float32)
        scale = self._model.tensors.get(f"{name}_scale")
        if scale is None:
            return values
        if scale.size not in (1, len(values)) or not scale.all():
            raise _wrong(f"the scale of tensor '{name}' does not fit it")
        divisor = scale.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
        return np.divide(values, divisor, out=values)

    def linear(self, name: str, size_in: int, size_out: int) -> tuple[Array, Array]:
        """Weight (out, in) and bias (out) of a linear layer; a bias that it does not have is zero."""
        weight = self.array(f"{name}/weight", size_out, size_in)
        if f"{name}/bias" not in self._model.tensors:
            return weight, np.zeros(size_out, np.float32)
        return weight, self.array(f"{name}/bias", size_out)

    def _layers(self, stack: str) -> int:
        count = 0
        while f"{stack}/layer_{count}/ffn/linear_0/weight" in self._model.tensors:
            count += 1
        return count

    def _dimensions(self, name: str, count: int) -> tuple[int, ...]:
        shape = self._tensor(name).shape
        if len(shape) != count:
            raise _wrong(f"tensor '{name}' has {len(shape)} dimensions, not {count}")
        return shape

    def _tensor(self, name: str) -> NDArray[Any]:
        try:
            return self._model.tensors[name]
        except KeyError:
            raise _wrong(f"it has no tensor '{name}'") from None


def _wrong(reason: str) -> LoadFailed:
    return LoadFailed(f"{FILE} is not a Whisper model's: {reason}", code="model_load_failed")
