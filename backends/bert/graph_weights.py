"""Where each architecture keeps its weights, so that one graph builder serves them all.

Source of the names: the state dicts of transformers' `BertModel`, `RobertaModel` (XLM-RoBERTa and
CamemBERT alike), `DistilBertModel` and `MPNetModel`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.errors import LoadFailed

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names of one architecture's weights; `layer` is a template of the layer's number."""

    layer: str
    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    up: str
    down: str
    output_norm: str
    token_types: bool = False
    relative_bias: str | None = None


BERT = Layout(
    layer="encoder.layer.{}.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    up="intermediate.dense",
    down="output.dense",
    output_norm="output.LayerNorm",
    token_types=True,
)
DISTILBERT = Layout(
    layer="transformer.layer.{}.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    attention_norm="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    output_norm="output_layer_norm",
)
MPNET = Layout(
    layer="encoder.layer.{}.",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attention_output="attention.attn.o",
    attention_norm="attention.LayerNorm",
    up="intermediate.dense",
    down="output.dense",
    output_norm="output.LayerNorm",
    relative_bias="encoder.relative_attention_bias.weight",
)
LAYOUTS = {
    "bert": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
    "camembert": BERT,
    "distilbert": DISTILBERT,
    "mpnet": MPNET,
}
WORDS = "embeddings.word_embeddings.weight"
# Checkpoints of the first BERT releases call a layer norm's weight and bias by these names.
OLD_NAMES = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


def layout_of(architecture: str) -> Layout:
    """Raises `LoadFailed` for an architecture that has no graph here."""
    if architecture not in LAYOUTS:
        known = ", ".join(LAYOUTS)
        raise LoadFailed(
            f"architecture '{architecture}' (model_type of config.json) is not computed; known are {known}",
            code="model_load_failed",
        )
    return LAYOUTS[architecture]


class Weights:
    """A model's tensors under the names of its bare encoder, whatever wrapper it was saved from
    (`bert.…`, `roberta.…`, `0.auto_model.…`), with their shapes checked."""

    def __init__(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        self._tensors = tensors
        roots = [name.removesuffix(WORDS) for name in tensors if name.endswith(WORDS)]
        if len(roots) != 1:
            raise LoadFailed(
                f"the weights hold {len(roots)} tensors named {WORDS}, not one", code="model_load_failed"
            )
        self._root = roots[0]

    def array(self, name: str, *shape: int) -> Array:
        """The tensor `name` as float32. Raises `LoadFailed` when it is missing or not of `shape`."""
        tensor = self._find(self._root + name)
        if tensor is None:
            raise LoadFailed(f"the weights have no tensor {name}", code="model_load_failed")
        if tensor.shape != shape or tensor.dtype != np.float32:
            raise LoadFailed(
                f"tensor {name} is {tensor.dtype} {list(tensor.shape)}, config.json asks for {list(shape)}",
                code="model_load_failed",
            )
        return tensor

    def first_row(self, name: str, size: int) -> Array:
        """Row 0 of the table `name`, which has as many rows as it likes. Raises `LoadFailed`."""
        tensor = self._find(self._root + name)
        row: Array = self.array(name, len(tensor) if tensor is not None else 1, size)[0]
        return row

    def _find(self, name: str) -> npt.NDArray[Any] | None:
        if name in self._tensors:
            return self._tensors[name]
        for new, old in OLD_NAMES.items():
            if name.endswith(new) and (former := name.removesuffix(new) + old) in self._tensors:
                return self._tensors[former]
        return None
