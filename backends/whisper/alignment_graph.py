"""Where Whisper's decoder looks while it writes given tokens, as an OpenVINO graph.

Equations: Radford et al. 2022, §2.2: pre-norm transformer decoder layers with learned positions. All tokens
are known, so one pass over them does; nothing behind the last alignment head is computed. Weights are int8:
a quarter less time than in bf16, for the same times of words.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import openvino as ov
import openvino.opset15 as ops
from openvino import Node

from backends.whisper.encoder_graph import layer_norm, linear_int8, whole, whole_scalar
from backends.whisper.weights import Weights

# Added to the score of what must not be seen. Finite, since -inf - -inf is NaN; large enough to leave 0.
MASKED = -1e30
TINY = 1e-12  # added to variances: where no token looks there is none
Head = tuple[int, int]  # layer and number


def build_alignment(weights: Weights, heads: Sequence[Head]) -> ov.Model:
    """Inputs: `states` float32 (windows, positions, hidden) of the encoder; `tokens` int64 (windows, width),
    padded with any token; `widths` and `frames` int64 (windows), how many tokens and positions count. Output
    `attention` float32 (windows, width, positions): how much the cross-attention heads `heads` look there, as
    `standard` has it; what does not count holds anything.

    Raises `LoadFailed` when a tensor is missing. There must be a head, and the model must have all of them.
    """
    states = ops.parameter([-1, -1, weights.shape.hidden], np.float32, name="states")
    tokens = ops.parameter([-1, -1], np.int64, name="tokens")
    widths = ops.parameter([-1], np.int64, name="widths")
    frames = ops.parameter([-1], np.int64, name="frames")
    node, mask = embedded(tokens, weights), causal(tokens)
    everyone = range(weights.shape.heads)
    last = max(layer for layer, _ in heads)
    found: list[Node] = []
    for number in range(last + 1):
        prefix = f"decoder/layer_{number}"
        wanted = sorted({head for layer, head in heads if layer == number})
        node = ops.add(node, self_attention(node, mask, weights, f"{prefix}/self_attention"))
        computed = everyone if number < last else wanted
        scores = cross_scores(node, states, weights, f"{prefix}/attention", computed)
        if wanted:
            found.append(scores if number == last else ops.gather(scores, whole(*wanted), whole_scalar(1)))
        if number < last:
            node = ops.add(node, cross_mixed(scores, states, weights, f"{prefix}/attention"))
            node = ops.add(node, feed_forward(node, weights, f"{prefix}/ffn"))
    attention = standard(ops.concat(found, 1), inside(widths, tokens), inside(frames, states))
    result = ops.result(attention, name="attention")
    return ov.Model([result], [states, tokens, widths, frames], "whisper alignment")


def standard(scores: Node, tokens: Node, positions: Node) -> Node:
    """Scores (windows, heads, width, positions) to the heads' mean attention, of mean 0 and variance 1 over a
    window's tokens at each position: what draws all tokens alike says nothing of where one is spoken.

    `tokens` (windows, width) and `positions` (windows, positions) are 1 where they count, else 0.
    """
    away = ops.multiply(ops.subtract(positions, _number(1.0)), _number(-MASKED))
    attention = ops.softmax(ops.add(scores, ops.unsqueeze(away, whole(1, 2))), -1)
    counted = ops.unsqueeze(tokens, whole(1, 3))  # (windows, 1, width, 1)
    count = ops.reduce_sum(counted, whole(2), True)
    mean = ops.divide(ops.reduce_sum(ops.multiply(attention, counted), whole(2), True), count)
    apart = ops.multiply(ops.subtract(attention, mean), counted)
    variance = ops.divide(ops.reduce_sum(ops.multiply(apart, apart), whole(2), True), count)
    deviation = ops.sqrt(ops.add(variance, _number(TINY)))
    return ops.reduce_mean(ops.divide(apart, deviation), whole(1), False)


def inside(counts: Node, rows: Node) -> Node:
    """1.0 for the first `counts[w]` of the second dimension of `rows`, else 0.0: (windows, size)."""
    line = ops.range(whole_scalar(0), ops.squeeze(_width(rows), whole(0)), whole_scalar(1), "i64")
    return ops.convert(ops.less(ops.unsqueeze(line, whole(0)), ops.unsqueeze(counts, whole(1))), "f32")


def embedded(tokens: Node, weights: Weights) -> Node:
    """Tokens and their places, (windows, width, hidden)."""
    shape = weights.shape
    words = weights.array("decoder/embeddings/weight", shape.vocabulary, shape.hidden)
    places = weights.array("decoder/position_encodings/encodings", shape.text_positions, shape.hidden)
    first = ops.slice(ops.constant(places), whole(0), _width(tokens), whole(1), whole(0))
    return ops.add(ops.gather(ops.constant(words), tokens, whole_scalar(0)), first)


def causal(tokens: Node) -> Node:
    """What to add to scores (width, width) so that no token sees a later one."""
    width = ops.squeeze(_width(tokens), whole(0))
    line = ops.range(whole_scalar(0), width, whole_scalar(1), "i64")
    later = ops.greater(ops.unsqueeze(line, whole(0)), ops.unsqueeze(line, whole(1)))
    return ops.multiply(ops.convert(later, "f32"), _number(MASKED))


def self_attention(node: Node, mask: Node, weights: Weights, prefix: str) -> Node:
    """softmax(q kᵀ / √d + mask) v over heads, and the output projection, of what is normalised first."""
    hidden, heads = weights.shape.hidden, weights.shape.heads
    weight, bias = weights.linear(f"{prefix}/linear_0", hidden, 3 * hidden)
    normal = layer_norm(node, weights, f"{prefix}/layer_norm")
    queries, keys, values = (
        by_head(linear_int8(normal, weight[rows], bias[rows]), heads)
        for rows in (slice(part * hidden, (part + 1) * hidden) for part in range(3))
    )
    scores = ops.multiply(ops.matmul(queries, keys, False, True), _scale(weights))
    attended = ops.softmax(ops.add(scores, mask), -1)
    return _joined(ops.matmul(attended, values, False, False), weights, f"{prefix}/linear_1")


def cross_scores(node: Node, states: Node, weights: Weights, prefix: str, heads: Sequence[int]) -> Node:
    """q kᵀ / √d between tokens and audio, (windows, heads, width, positions), of `heads` alone."""
    hidden = weights.shape.hidden
    size = hidden // weights.shape.heads
    rows = np.concatenate([np.arange(head * size, (head + 1) * size) for head in heads])
    query_weight, query_bias = weights.linear(f"{prefix}/linear_0", hidden, hidden)
    key_weight, key_bias = weights.linear(f"{prefix}/linear_1", hidden, 2 * hidden)
    normal = layer_norm(node, weights, f"{prefix}/layer_norm")
    queries = by_head(linear_int8(normal, query_weight[rows], query_bias[rows]), len(heads))
    keys = by_head(linear_int8(states, key_weight[rows], key_bias[rows]), len(heads))
    return ops.matmul(ops.multiply(queries, _scale(weights)), keys, False, True)


def cross_mixed(scores: Node, states: Node, weights: Weights, prefix: str) -> Node:
    """What the tokens take from the audio: softmax(scores) v, and the output projection."""
    hidden, heads = weights.shape.hidden, weights.shape.heads
    weight, bias = weights.linear(f"{prefix}/linear_1", hidden, 2 * hidden)
    values = by_head(linear_int8(states, weight[hidden:], bias[hidden:]), heads)
    return _joined(ops.matmul(ops.softmax(scores, -1), values, False, False), weights, f"{prefix}/linear_2")


def feed_forward(node: Node, weights: Weights, prefix: str) -> Node:
    hidden, wide = weights.shape.hidden, weights.shape.feed_forward
    normal = layer_norm(node, weights, f"{prefix}/layer_norm")
    up = ops.gelu(linear_int8(normal, *weights.linear(f"{prefix}/linear_0", hidden, wide)), "erf")
    return linear_int8(up, *weights.linear(f"{prefix}/linear_1", wide, hidden))


def by_head(node: Node, heads: int) -> Node:
    """(windows, width, heads · size) to (windows, heads, width, size)."""
    split = ops.reshape(node, whole(0, 0, heads, -1), special_zero=True)
    return ops.transpose(split, whole(0, 2, 1, 3))


def _joined(mixed: Node, weights: Weights, name: str) -> Node:
    """(windows, heads, width, size) to (windows, width, hidden), through the output projection `name`."""
    hidden = weights.shape.hidden
    flat = ops.reshape(ops.transpose(mixed, whole(0, 2, 1, 3)), whole(0, 0, hidden), special_zero=True)
    return linear_int8(flat, *weights.linear(name, hidden, hidden))


def _scale(weights: Weights) -> Node:
    return _number(1 / sqrt(weights.shape.hidden // weights.shape.heads))


def _number(value: float) -> Node:
    return ops.constant(np.float32(value))


def _width(tokens: Node) -> Node:
    """The number of tokens per window, as a vector of one."""
    return ops.gather(ops.shape_of(tokens), whole(1), whole_scalar(0))
