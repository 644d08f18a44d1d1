"""An encoder's tensors as llama.cpp's `bert` graph names and wants them.

That graph is: word + position + first token-type embedding, LayerNorm, and layers of attention and GELU
feed-forward with LayerNorm after each (llama.cpp, src/models/bert.cpp). RoBERTa and its kin fit once the
unused rows of their position table are cut off; MPNet does not, for its relative attention bias.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.bert.graph_weights import WORDS, Weights, layout_of
from backends.bert.model_folder import BertModel
from backends.errors import LoadFailed

Array = npt.NDArray[np.float32]

ARCHITECTURES = ("bert", "camembert", "distilbert", "roberta", "xlm-roberta")
# llama.cpp computes the tanh form of GELU for all of these; it differs from the exact one by under 1e-3.
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh")


def check_supported(model: BertModel) -> None:
    """Raise `LoadFailed` for a model that llama.cpp's graph would compute wrongly."""
    if model.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise LoadFailed(
            f"llama.cpp has no graph for '{model.architecture}'; GGUF files are made of {known}."
            " The openvino runtime may serve it",
            code="model_load_failed",
        )
    if model.activation not in ACTIVATIONS:
        raise LoadFailed(
            f"llama.cpp's bert graph computes GELU, this model needs '{model.activation}'",
            code="model_load_failed",
        )


def gguf_tensors(tensors: Mapping[str, npt.NDArray[Any]], model: BertModel) -> Iterator[tuple[str, Array]]:
    """GGUF name and float32 values, (out, in) for matrices, of every tensor of the graph in a fixed order.

    Heads (pooler, MLM, classifier) are left out. Raises `LoadFailed` naming a tensor that is missing or
    has another shape than config.json says.
    """
    weights, layout = Weights(tensors), layout_of(model.architecture)
    hidden, inner = model.hidden, model.intermediate
    yield "token_embd.weight", weights.array(WORDS, model.vocab_size, hidden)
    positions = model.position_offset + model.max_positions
    table = weights.array("embeddings.position_embeddings.weight", positions, hidden)
    yield "position_embd.weight", table[model.position_offset :]
    if layout.token_types:  # only the first is ever added
        yield "token_types.weight", weights.first_row("embeddings.token_type_embeddings.weight", hidden)[None]
    yield from _pair(weights, "token_embd_norm", "embeddings.LayerNorm", hidden)
    for number in range(model.layers):
        source, target = layout.layer.format(number), f"blk.{number}."
        yield from _pair(weights, target + "attn_q", source + layout.query, hidden, hidden)
        yield from _pair(weights, target + "attn_k", source + layout.key, hidden, hidden)
        yield from _pair(weights, target + "attn_v", source + layout.value, hidden, hidden)
        yield from _pair(weights, target + "attn_output", source + layout.attention_output, hidden, hidden)
        yield from _pair(weights, target + "attn_output_norm", source + layout.attention_norm, hidden)
        yield from _pair(weights, target + "ffn_up", source + layout.up, inner, hidden)
        yield from _pair(weights, target + "ffn_down", source + layout.down, hidden, inner)
        yield from _pair(weights, target + "layer_output_norm", source + layout.output_norm, hidden)


def _pair(weights: Weights, target: str, source: str, *shape: int) -> Iterator[tuple[str, Array]]:
    """The weight and the bias of one module."""
    yield f"{target}.weight", weights.array(f"{source}.weight", *shape)
    yield f"{target}.bias", weights.array(f"{source}.bias", shape[0])
