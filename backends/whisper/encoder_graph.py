"""Whisper's audio encoder as an OpenVINO graph.

Equations: Radford et al. 2022, §2.2: two convolutions with GELU, the second of stride 2, sinusoid positions
as stored, pre-norm transformer layers, a last norm.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
import openvino as ov
import openvino.opset15 as ops
from openvino import Node

from backends.whisper.weights import Array, Weights

EPS = 1e-5  # of its layer norms, as torch's default
Linear = Callable[[Node, Array, Array], Node]


def build_encoder(weights: Weights, *, int8: bool = False) -> ov.Model:
    """Input `mels` float32 (windows, bands, frames), frames even; output `states` float32 (windows,
    frames / 2, hidden). `int8`: the weights of linear layers are kept so.

    Raises `LoadFailed` when a tensor is missing.
    """
    product = linear_int8 if int8 else linear
    mels = ops.parameter([-1, weights.shape.mels, -1], np.float32, name="mels")
    node = convolution(mels, weights, "encoder/conv1", weights.shape.mels, stride=1)
    node = convolution(node, weights, "encoder/conv2", weights.shape.hidden, stride=2)
    node = with_positions(ops.transpose(node, whole(0, 2, 1)), weights)
    for number in range(weights.shape.encoder_layers):
        node = layer(node, weights, f"encoder/layer_{number}", product)
    node = layer_norm(node, weights, "encoder/layer_norm")
    return ov.Model([ops.result(node, name="states")], [mels], "whisper encoder")


def convolution(node: Node, weights: Weights, name: str, channels: int, *, stride: int) -> Node:
    """Width 3, one frame of padding at each end, GELU."""
    hidden = weights.shape.hidden
    kernel = ops.constant(weights.array(f"{name}/weight", hidden, channels, 3))
    found = ops.convolution(node, kernel, strides=[stride], pads_begin=[1], pads_end=[1], dilations=[1])
    bias = weights.array(f"{name}/bias", hidden).reshape(1, hidden, 1)
    return ops.gelu(ops.add(found, ops.constant(bias)), "erf")


def with_positions(node: Node, weights: Weights) -> Node:
    """Adds the first of the stored positions to (windows, positions, hidden)."""
    shape = weights.shape
    table = weights.array("encoder/position_encodings/encodings", shape.positions, shape.hidden)
    count = ops.gather(ops.shape_of(node), whole(1), whole(0))
    return ops.add(node, ops.slice(ops.constant(table), whole(0), count, whole(1), whole(0)))


def layer(node: Node, weights: Weights, prefix: str, product: Linear) -> Node:
    """Self-attention and feed-forward of what is normalised first, each added to its input."""
    normal = layer_norm(node, weights, f"{prefix}/self_attention/layer_norm")
    node = ops.add(node, attention(normal, weights, f"{prefix}/self_attention", product))
    normal = layer_norm(node, weights, f"{prefix}/ffn/layer_norm")
    hidden, wide = weights.shape.hidden, weights.shape.feed_forward
    up = ops.gelu(product(normal, *weights.linear(f"{prefix}/ffn/linear_0", hidden, wide)), "erf")
    return ops.add(node, product(up, *weights.linear(f"{prefix}/ffn/linear_1", wide, hidden)))


def attention(node: Node, weights: Weights, prefix: str, product: Linear) -> Node:
    """softmax(q kᵀ / √d) v over heads of d = hidden / heads, and the output projection."""
    hidden, heads = weights.shape.hidden, weights.shape.heads
    size = hidden // heads
    weight, bias = weights.linear(f"{prefix}/linear_0", hidden, 3 * hidden)
    weight[:hidden] /= sqrt(size)  # the scale of the scores, spared at run time
    bias[:hidden] /= sqrt(size)
    split = ops.reshape(product(node, weight, bias), whole(0, 0, 3, heads, size), special_zero=True)
    parts = ops.split(ops.transpose(split, whole(2, 0, 3, 1, 4)), whole_scalar(0), 3)
    queries, keys, values = (ops.squeeze(parts.output(place), whole(0)) for place in range(3))
    scores = ops.softmax(ops.matmul(queries, keys, False, True), -1)
    mixed = ops.transpose(ops.matmul(scores, values, False, False), whole(0, 2, 1, 3))
    joined = ops.reshape(mixed, whole(0, 0, hidden), special_zero=True)
    return product(joined, *weights.linear(f"{prefix}/linear_1", hidden, hidden))


def linear(node: Node, weight: Array, bias: Array) -> Node:
    """`node` @ weightᵀ + bias."""
    return ops.add(ops.matmul(node, ops.constant(weight), False, True), ops.constant(bias))


def linear_int8(node: Node, weight: Array, bias: Array) -> Node:
    """The same with the weight in int8, a scale per row: the form that OpenVINO keeps in memory so."""
    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-12) / 127
    rounded = ops.constant(np.rint(weight / scale).astype(np.int8))
    scaled = ops.multiply(ops.convert(rounded, "f32"), ops.constant(scale))
    return ops.add(ops.matmul(node, scaled, False, True), ops.constant(bias))


def layer_norm(node: Node, weights: Weights, name: str) -> Node:
    """Mean 0 and variance 1 over the last axis, then the learned scale and shift."""
    hidden = weights.shape.hidden
    normal = ops.mvn(node, whole(-1), normalize_variance=True, eps=EPS, eps_mode="inside_sqrt")
    scaled = ops.multiply(normal, ops.constant(weights.array(f"{name}/gamma", hidden)))
    return ops.add(scaled, ops.constant(weights.array(f"{name}/beta", hidden)))


def whole(*values: int) -> Node:
    return ops.constant(np.array(values, dtype=np.int64))


def whole_scalar(value: int) -> Node:
    return ops.constant(np.int64(value))
