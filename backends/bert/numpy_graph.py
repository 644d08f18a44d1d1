"""llama.cpp's `bert` graph in numpy and float32: slow, and right on every CPU.

It is the yardstick of the self-tests: whatever a native build makes of a GGUF file must agree with what
this makes of the same file. Formulas: "BERT: Pre-training of Deep Bidirectional Transformers" (Devlin et
al., 2019) and its layers as in src/models/bert.cpp of llama.cpp, GELU in its tanh form.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from backends.bert.model_folder import BertModel
from backends.errors import LoadFailed
from backends.gguf_file import GGUFFile

Array = npt.NDArray[np.float32]

ARCHITECTURE = "bert"


def embed(file: GGUFFile, model: BertModel, rows: Sequence[Sequence[int]]) -> Array:
    """Rows of ids to float32 (rows, hidden): pooled, and of unit length if the model is normalised.

    Raises `LoadFailed` when the file lacks a tensor of the graph.
    """
    states = [_embeddings(file, model, row) for row in rows]
    for number in range(model.layers):
        layer = _Layer(file, f"blk.{number}.", model)
        states = [layer(state) for state in states]
    vectors = np.stack([_pooled(state, model) for state in states])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if model.normalize else vectors


def _embeddings(file: GGUFFile, model: BertModel, ids: Sequence[int]) -> Array:
    words = file.rows("token_embd.weight", ids)
    words += file.rows("position_embd.weight", range(len(ids)))
    if "token_types.weight" in file.tensors:
        words += file.rows("token_types.weight", [0])
    return _Norm(file, "token_embd_norm", model)(words)


class _Layer:
    """One layer, its weights read once for all rows."""

    def __init__(self, file: GGUFFile, prefix: str, model: BertModel) -> None:
        self._heads = model.heads
        self._query, self._key, self._value, self._output, self._up, self._down = (
            _Linear(file, prefix + name)
            for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down")
        )
        self._attention_norm = _Norm(file, prefix + "attn_output_norm", model)
        self._output_norm = _Norm(file, prefix + "layer_output_norm", model)

    def __call__(self, state: Array) -> Array:
        state = self._attention_norm(state + self._output(self._attention(state)))
        return self._output_norm(state + self._down(_gelu(self._up(state))))

    def _attention(self, state: Array) -> Array:
        query, key, value = (self._split(part(state)) for part in (self._query, self._key, self._value))
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(query.shape[-1]))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.ascontiguousarray((weights @ value).transpose(1, 0, 2)).reshape(state.shape)

    def _split(self, state: Array) -> Array:
        """(tokens, hidden) to (heads, tokens, hidden / heads)."""
        return state.reshape(len(state), self._heads, -1).transpose(1, 0, 2)


class _Linear:
    def __init__(self, file: GGUFFile, name: str) -> None:
        self._weight = file.values(f"{name}.weight")
        self._bias = file.values(f"{name}.bias") if f"{name}.bias" in file.tensors else np.float32(0)

    def __call__(self, state: Array) -> Array:
        return np.asarray(state @ self._weight.T + self._bias)


class _Norm:
    def __init__(self, file: GGUFFile, name: str, model: BertModel) -> None:
        self._weight, self._bias = file.values(f"{name}.weight"), file.values(f"{name}.bias")
        self._eps = np.float32(model.layer_norm_eps)

    def __call__(self, state: Array) -> Array:
        centred = state - state.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        return np.asarray(centred / np.sqrt(variance + self._eps) * self._weight + self._bias)


def _gelu(state: Array) -> Array:
    inner = np.float32(np.sqrt(2 / np.pi)) * (state + np.float32(0.044715) * state**3)
    return np.asarray(np.float32(0.5) * state * (1 + np.tanh(inner)))


def _pooled(state: Array, model: BertModel) -> Array:
    if model.pooling == "mean":
        return np.asarray(state.mean(axis=0))
    if model.pooling in ("cls", "last"):
        return np.asarray(state[0 if model.pooling == "cls" else -1])
    raise LoadFailed(f"llama.cpp has no '{model.pooling}' pooling", code="model_load_failed")
