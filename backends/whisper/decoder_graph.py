"""Whisper's text decoder as two OpenVINO graphs: what it takes from the audio once, and a step of writing.

Equations: Radford et al. 2022, §2.2: pre-norm transformer decoder layers with learned positions. A step costs
what it reads: weights, in int8, and each window's keys and values of the audio, in bf16 where the CPU has it.
Values of the audio are kept with their positions last, the form that is read without being packed again.

Keys and values are inputs and outputs, no states of the graph: a state that was reset after its rows had
become fewer gave wrong rows.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import openvino as ov
import openvino.opset15 as ops
from openvino import Node

from backends.whisper.encoder_graph import layer_norm, linear_int8, whole, whole_scalar
from backends.whisper.weights import Weights

# Added to the score of what must not be seen or written. Finite, since -inf - -inf is NaN.
MASKED = -1e30
Head = tuple[int, int]  # layer and number


def build_cross(weights: Weights, kept: ov.Type) -> ov.Model:
    """Input `states` float32 (windows, positions, hidden) of the encoder; outputs, layer by layer, `keys_0`
    (windows, heads, positions, size), `values_0` (windows, heads, size, positions), …, of type `kept`.

    Raises `LoadFailed` when a tensor is missing.
    """
    hidden = weights.shape.hidden
    states = ops.parameter([-1, -1, hidden], np.float32, name="states")
    results = []
    for number in range(weights.shape.decoder_layers):
        weight, bias = weights.linear(f"decoder/layer_{number}/attention/linear_1", hidden, 2 * hidden)
        weight[:hidden] /= sqrt(hidden // weights.shape.heads)  # the scale of the scores
        bias[:hidden] /= sqrt(hidden // weights.shape.heads)
        keys = by_head(linear_int8(states, weight[:hidden], bias[:hidden]), weights, 0, 2, 1, 3)
        values = by_head(linear_int8(states, weight[hidden:], bias[hidden:]), weights, 0, 2, 3, 1)
        results.append(ops.result(ops.convert(keys, kept), name=f"keys_{number}"))
        results.append(ops.result(ops.convert(values, kept), name=f"values_{number}"))
    return ov.Model(results, [states], "whisper cross")


def build_step(weights: Weights, kept: ov.Type, heads: Sequence[Head]) -> ov.Model:
    """Inputs: `tokens` int64 (windows, width); `place` int64 (1), of the first of them; `away` float32
    (windows, 1, 1, positions), what to add to scores of the audio: 0, or `MASKED` where a window has ended;
    layer by layer the keys and values of the audio, as `build_cross` makes them; those of the tokens before,
    both (windows, heads, tokens, size). Outputs: `logits` float32 (windows, vocabulary) behind the last
    token; `seen` float32 (windows, heads, width, positions), how much the cross-attention heads `heads` look
    at each position; then layer by layer keys and values of all tokens so far.

    Raises `LoadFailed` when a tensor is missing.
    """
    shape = weights.shape
    count, size = shape.heads, shape.hidden // shape.heads
    tokens = ops.parameter([-1, -1], np.int64, name="tokens")
    place = ops.parameter([1], np.int64, name="place")
    away = ops.parameter([-1, 1, 1, -1], np.float32, name="away")
    audio, before, after, seen = [], [], [], []
    node = embedded(tokens, place, weights)
    mask = causal(tokens, place)
    for number in range(shape.decoder_layers):
        prefix = f"decoder/layer_{number}"
        audio_keys = ops.parameter([-1, count, -1, size], kept, name=f"audio_keys_{number}")
        audio_values = ops.parameter([-1, count, size, -1], kept, name=f"audio_values_{number}")
        keys, values = (ops.parameter([-1, count, -1, size], kept) for _ in range(2))
        audio += [audio_keys, audio_values]
        before += [keys, values]
        mixed, keys, values = self_attention(node, mask, keys, values, weights, f"{prefix}/self_attention")
        after += [ops.result(ops.convert(each, kept)) for each in (keys, values)]
        node = ops.add(node, mixed)
        audio_mixed, looks = cross_attention(
            node, away, audio_keys, audio_values, weights, f"{prefix}/attention"
        )
        node = ops.add(node, audio_mixed)
        if wanted := sorted({head for layer, head in heads if layer == number}):
            seen.append(ops.gather(looks, whole(*wanted), whole_scalar(1)))
        node = ops.add(node, feed_forward(node, weights, f"{prefix}/ffn"))
    last = ops.gather(node, whole_scalar(-1), whole_scalar(1))
    normal = layer_norm(last, weights, "decoder/layer_norm")
    projection = weights.linear("decoder/projection", shape.hidden, shape.vocabulary)
    logits = ops.result(linear_int8(normal, *projection), name="logits")
    looked = ops.result(ops.concat(seen, 1), name="seen")
    return ov.Model([logits, looked, *after], [tokens, place, away, *audio, *before], "whisper step")


def embedded(tokens: Node, place: Node, weights: Weights) -> Node:
    """Tokens and their places, (windows, width, hidden)."""
    shape = weights.shape
    words = weights.array("decoder/embeddings/weight", shape.vocabulary, shape.hidden)
    places = weights.array("decoder/position_encodings/encodings", shape.text_positions, shape.hidden)
    behind = ops.add(place, _width(tokens))
    here = ops.slice(ops.constant(places), place, behind, whole(1), whole(0))
    return ops.add(ops.gather(ops.constant(words), tokens, whole_scalar(0)), here)


def causal(tokens: Node, place: Node) -> Node:
    """What to add to scores (width, place + width) so that no token sees a later one."""
    behind = ops.add(place, _width(tokens))
    line = ops.range(whole_scalar(0), ops.squeeze(behind, whole(0)), whole_scalar(1), "i64")
    own = ops.slice(line, place, behind, whole(1), whole(0))
    later = ops.greater(ops.unsqueeze(line, whole(0)), ops.unsqueeze(own, whole(1)))
    return ops.multiply(ops.convert(later, "f32"), ops.constant(np.float32(MASKED)))


def self_attention(
    node: Node, mask: Node, keys: Node, values: Node, weights: Weights, prefix: str
) -> tuple[Node, Node, Node]:
    """softmax(q kᵀ / √d + mask) v over heads, of what is normalised first, with the output projection; and
    the keys and values of all tokens so far."""
    hidden = weights.shape.hidden
    size = hidden // weights.shape.heads
    weight, bias = weights.linear(f"{prefix}/linear_0", hidden, 3 * hidden)
    weight[:hidden] /= sqrt(size)
    bias[:hidden] /= sqrt(size)
    normal = layer_norm(node, weights, f"{prefix}/layer_norm")
    projected = linear_int8(normal, weight, bias)
    split = ops.reshape(projected, whole(0, 0, 3 * weights.shape.heads, size), special_zero=True)
    parts = ops.split(ops.transpose(split, whole(0, 2, 1, 3)), whole_scalar(1), 3)
    keys = ops.concat([_f32(keys), parts.output(1)], 2)
    values = ops.concat([_f32(values), parts.output(2)], 2)
    scores = ops.softmax(ops.add(ops.matmul(parts.output(0), keys, False, True), mask), -1)
    return joined(ops.matmul(scores, values, False, False), weights, f"{prefix}/linear_1"), keys, values


def cross_attention(
    node: Node, away: Node, keys: Node, values: Node, weights: Weights, prefix: str
) -> tuple[Node, Node]:
    """softmax(q kᵀ / √d + away) v over heads and positions of the audio, with the output projection; and the
    softmax. The keys have the scale in them."""
    hidden = weights.shape.hidden
    normal = layer_norm(node, weights, f"{prefix}/layer_norm")
    queries = by_head(
        linear_int8(normal, *weights.linear(f"{prefix}/linear_0", hidden, hidden)), weights, 0, 2, 1, 3
    )
    scores = ops.softmax(ops.add(ops.matmul(queries, _f32(keys), False, True), away), -1)
    return joined(ops.matmul(scores, _f32(values), False, True), weights, f"{prefix}/linear_2"), scores


def feed_forward(node: Node, weights: Weights, prefix: str) -> Node:
    hidden, wide = weights.shape.hidden, weights.shape.feed_forward
    normal = layer_norm(node, weights, f"{prefix}/layer_norm")
    up = ops.gelu(linear_int8(normal, *weights.linear(f"{prefix}/linear_0", hidden, wide)), "erf")
    return linear_int8(up, *weights.linear(f"{prefix}/linear_1", wide, hidden))


def by_head(node: Node, weights: Weights, *order: int) -> Node:
    """(windows, width, hidden) to heads: (windows, width, heads, size), its dimensions in `order`."""
    split = ops.reshape(node, whole(0, 0, weights.shape.heads, -1), special_zero=True)
    return ops.transpose(split, whole(*order))


def joined(mixed: Node, weights: Weights, name: str) -> Node:
    """(windows, heads, width, size) to (windows, width, hidden), through the output projection `name`."""
    hidden = weights.shape.hidden
    flat = ops.reshape(ops.transpose(mixed, whole(0, 2, 1, 3)), whole(0, 0, hidden), special_zero=True)
    return linear_int8(flat, *weights.linear(name, hidden, hidden))


def _f32(node: Node) -> Node:
    """As float32 on paper: a graph that computes in bf16 converts nothing here."""
    return ops.convert(node, "f32")


def _width(tokens: Node) -> Node:
    """The number of tokens per window, as a vector of one."""
    return ops.gather(ops.shape_of(tokens), whole(1), whole_scalar(0))
