"""A Whisper model's tensors of CTranslate2 as whisper.cpp names and wants them.

CTranslate2 keeps queries, keys and values of a self-attention in one layer, keys and values of a
cross-attention in another, and gives keys a bias. whisper.cpp has none: in the published models it is zero.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from backends.errors import LoadFailed
from backends.whisper.weights import Weights

Array = npt.NDArray[np.float32]
Named = Iterator[tuple[str, Array]]


def ggml_tensors(weights: Weights) -> Named:
    """ggml name and float32 values of every tensor. Raises `LoadFailed` naming a tensor that is missing
    or does not fit."""
    shape = weights.shape
    width = shape.hidden
    yield (
        "encoder.positional_embedding",
        weights.array("encoder/position_encodings/encodings", shape.positions, width),
    )
    for number, inputs in ((1, shape.mels), (2, width)):
        source, target = f"encoder/conv{number}", f"encoder.conv{number}"
        yield f"{target}.weight", weights.array(f"{source}/weight", width, inputs, 3)
        yield f"{target}.bias", weights.array(f"{source}/bias", width)
    for layer in range(shape.encoder_layers):
        yield from _layer(weights, f"encoder/layer_{layer}", f"encoder.blocks.{layer}", crossing=False)
    yield from _norm(weights, "encoder/layer_norm", "encoder.ln_post")
    yield (
        "decoder.positional_embedding",
        weights.array("decoder/position_encodings/encodings", shape.text_positions, width),
    )
    yield (
        "decoder.token_embedding.weight",
        weights.array("decoder/embeddings/weight", shape.vocabulary, width),
    )
    for layer in range(shape.decoder_layers):
        yield from _layer(weights, f"decoder/layer_{layer}", f"decoder.blocks.{layer}", crossing=True)
    yield from _norm(weights, "decoder/layer_norm", "decoder.ln")


def _layer(weights: Weights, source: str, target: str, *, crossing: bool) -> Named:
    width = weights.shape.hidden
    attention = f"{source}/self_attention"
    yield from _norm(weights, f"{attention}/layer_norm", f"{target}.attn_ln")
    fused = weights.linear(f"{attention}/linear_0", width, 3 * width)
    yield from _parts(fused, f"{target}.attn", ("query", "key", "value"))
    yield from _parts(weights.linear(f"{attention}/linear_1", width, width), f"{target}.attn", ("out",))
    if crossing:
        attention, crossed = f"{source}/attention", f"{target}.cross_attn"
        yield from _norm(weights, f"{attention}/layer_norm", f"{crossed}_ln")
        for number, parts in enumerate((("query",), ("key", "value"), ("out",))):
            linear = weights.linear(f"{attention}/linear_{number}", width, len(parts) * width)
            yield from _parts(linear, crossed, parts)
    yield from _norm(weights, f"{source}/ffn/layer_norm", f"{target}.mlp_ln")
    inner = weights.shape.feed_forward
    yield from _parts(weights.linear(f"{source}/ffn/linear_0", width, inner), f"{target}.mlp", ("0",))
    yield from _parts(weights.linear(f"{source}/ffn/linear_1", inner, width), f"{target}.mlp", ("2",))


def _parts(linear: tuple[Array, Array], target: str, names: tuple[str, ...]) -> Named:
    """The layers that one was fused of, each with its rows."""
    weight, bias = linear
    for name, rows, values in zip(
        names, np.split(weight, len(names)), np.split(bias, len(names)), strict=True
    ):
        yield f"{target}.{name}.weight", rows
        if name != "key":
            yield f"{target}.{name}.bias", values
        elif np.any(values):
            raise LoadFailed(f"whisper.cpp knows no bias of keys, {target} has one", code="model_load_failed")


def _norm(weights: Weights, source: str, target: str) -> Named:
    yield f"{target}.weight", weights.array(f"{source}/gamma", weights.shape.hidden)
    yield f"{target}.bias", weights.array(f"{source}/beta", weights.shape.hidden)
