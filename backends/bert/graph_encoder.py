"""A transformer encoder as an OpenVINO graph, from the shape in `BertModel` and the weights.

Equations: Devlin et al. 2018 (BERT, post-norm), Song et al. 2020 (MPNet: T5's relative attention bias,
shared by all layers). Positions that start behind the padding id: transformers'
`create_position_ids_from_input_ids` (RoBERTa and MPNet).
"""

from math import log, sqrt

import numpy as np
import numpy.typing as npt
import openvino.opset15 as ops
from openvino import Node

from backends.bert.graph_ops import activation, constant, layer_norm, linear, number, whole, width_of
from backends.bert.graph_weights import WORDS, Layout, Weights
from backends.bert.model_folder import BertModel

# Added to the score of a padded token. Finite, since -inf - -inf is NaN; large enough to leave exactly 0.
MASKED = -1e30
Integers = npt.NDArray[np.int64]

MAX_DISTANCE = 128  # MPNet's, beyond which its buckets do not tell distances apart


def encoder(model: BertModel, layout: Layout, weights: Weights, ids: Node, mask: Node) -> Node:
    """Token ids (rows, width) and mask (rows, width; 1.0 for a token, 0.0 for padding) to the last hidden
    states (rows, width, hidden)."""
    hidden = embeddings(model, layout, weights, ids)
    scores = ops.multiply(ops.subtract(number(1.0), mask), number(MASKED))
    bias = ops.unsqueeze(scores, whole(1, 2))  # (rows, 1, 1, width): the same for each head and query
    if layout.relative_bias:
        bias = ops.add(bias, relative_bias(model, layout.relative_bias, weights, ids))
    for number_of_layer in range(model.layers):
        hidden = layer(model, layout, weights, layout.layer.format(number_of_layer), hidden, bias)
    return hidden


def embeddings(model: BertModel, layout: Layout, weights: Weights, ids: Node) -> Node:
    """Word, position and (BERT, RoBERTa) token type 0, summed and normalised."""
    axis = ops.constant(np.int64(0))
    words = ops.gather(constant(weights.array(WORDS, model.vocab_size, model.hidden)), ids, axis)
    table = weights.array(
        "embeddings.position_embeddings.weight", model.max_positions + model.position_offset, model.hidden
    )
    if layout.token_types:  # every token is of type 0: its row is added to the positions once, here
        table = table + weights.first_row("embeddings.token_type_embeddings.weight", model.hidden)
    total = ops.add(words, ops.gather(constant(table), positions(model, ids), axis))
    return layer_norm(total, weights, "embeddings.LayerNorm", model.hidden, model.layer_norm_eps)


def positions(model: BertModel, ids: Node) -> Node:
    """Rows of the position table: 0, 1, 2, … or, with an offset, counted over the tokens that are not the
    padding id, which itself takes the row of its own number."""
    if not model.position_offset:
        return ops.range(ops.constant(np.int64(0)), width_of(ids), ops.constant(np.int64(1)), "i64")
    real = ops.convert(ops.not_equal(ids, ops.constant(np.int64(model.pad_id))), "i64")
    counted = ops.multiply(ops.cum_sum(real, ops.constant(np.int64(1))), real)
    return ops.add(counted, ops.constant(np.int64(model.pad_id)))


def layer(model: BertModel, layout: Layout, weights: Weights, prefix: str, node: Node, bias: Node) -> Node:
    """Self-attention and feed-forward, each added to its input and normalised."""

    def norm(name: str, total: Node) -> Node:
        return layer_norm(total, weights, prefix + name, model.hidden, model.layer_norm_eps)

    attended = attention(model, layout, weights, prefix, node, bias)
    node = norm(layout.attention_norm, ops.add(attended, node))
    wide = linear(node, weights, prefix + layout.up, model.hidden, model.intermediate)
    wide = activation(model.activation)(wide)
    narrow = linear(wide, weights, prefix + layout.down, model.intermediate, model.hidden)
    return norm(layout.output_norm, ops.add(narrow, node))


def attention(
    model: BertModel, layout: Layout, weights: Weights, prefix: str, node: Node, bias: Node
) -> Node:
    """softmax(q kᵀ / √d + bias) v over heads of d = hidden / heads, and the output projection."""

    def heads(name: str) -> Node:
        flat = linear(node, weights, prefix + name, model.hidden, model.hidden)
        split = ops.reshape(flat, whole(0, 0, model.heads, size), special_zero=True)
        return ops.transpose(split, whole(0, 2, 1, 3))  # (rows, heads, width, size)

    size = model.hidden // model.heads
    scores = ops.matmul(heads(layout.query), heads(layout.key), False, True)
    scores = ops.add(ops.multiply(scores, number(1 / sqrt(size))), bias)
    mixed = ops.matmul(ops.softmax(scores, -1), heads(layout.value), False, False)
    joined = ops.reshape(
        ops.transpose(mixed, whole(0, 2, 1, 3)), whole(0, 0, model.hidden), special_zero=True
    )
    return linear(joined, weights, prefix + layout.attention_output, model.hidden, model.hidden)


def relative_bias(model: BertModel, name: str, weights: Weights, ids: Node) -> Node:
    """MPNet's bias by distance, (1, heads, width, width): computed for every distance at build time and
    gathered by key - query."""
    table = weights.array(name, model.relative_buckets, model.heads)
    reach = model.max_positions - 1
    distances = np.arange(-reach, reach + 1)
    by_distance = table[buckets(distances, model.relative_buckets)]  # (2 reach + 1, heads)
    line = ops.range(ops.constant(np.int64(0)), width_of(ids), ops.constant(np.int64(1)), "i64")
    apart = ops.subtract(ops.unsqueeze(line, whole(0)), ops.unsqueeze(line, whole(1)))  # [query, key]
    rows = ops.add(apart, ops.constant(np.int64(reach)))
    gathered = ops.gather(constant(np.ascontiguousarray(by_distance.T)), rows, ops.constant(np.int64(1)))
    return ops.unsqueeze(gathered, whole(0))


def buckets(distances: Integers, count: int) -> Integers:
    """Bucket of each distance key - query: half of them for each direction, in each half the first half
    exact and the rest logarithmic up to `MAX_DISTANCE` (T5, Raffel et al. 2020, as MPNet uses it)."""
    half = count // 2
    exact = half // 2
    away = np.abs(distances)
    with np.errstate(divide="ignore"):
        steps = np.log(away.astype(np.float32) / exact) / log(MAX_DISTANCE / exact) * (half - exact)
    far = np.minimum(exact + np.maximum(steps, 0).astype(np.int64), half - 1)
    return np.where(distances > 0, half, 0) + np.where(away < exact, away, far)
