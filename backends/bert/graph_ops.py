"""The few building blocks of an encoder as OpenVINO nodes.

A *node* here is an `openvino.Node`; shapes are (rows, width, hidden) unless said.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino.opset15 as ops
from openvino import Node

from backends.bert.graph_weights import Array, Weights
from backends.errors import LoadFailed

# The names are those of transformers' activation table.
ACTIVATIONS: dict[str, Callable[[Node], Node]] = {
    "gelu": lambda node: ops.gelu(node, "erf"),
    "gelu_new": lambda node: ops.gelu(node, "tanh"),
    "gelu_pytorch_tanh": lambda node: ops.gelu(node, "tanh"),
    "relu": ops.relu,
    "silu": ops.swish,
    "swish": ops.swish,
}


def constant(array: Array) -> Node:
    """`array` as it lies in memory (the mapped file), not a copy."""
    return ops.constant(array, shared_memory=array.flags.c_contiguous)


def whole(*values: int) -> Node:
    return ops.constant(np.array(values, dtype=np.int64))


def linear(node: Node, weights: Weights, name: str, size_in: int, size_out: int) -> Node:
    """`node` @ weightᵀ + bias; torch keeps a linear layer's weight as (out, in)."""
    product = ops.matmul(node, constant(weights.array(f"{name}.weight", size_out, size_in)), False, True)
    return ops.add(product, constant(weights.array(f"{name}.bias", size_out)))


def layer_norm(node: Node, weights: Weights, name: str, size: int, eps: float) -> Node:
    """Mean 0 and variance 1 over the last axis, then the learned scale and shift."""
    normal = ops.mvn(node, whole(-1), normalize_variance=True, eps=eps, eps_mode="inside_sqrt")
    scaled = ops.multiply(normal, constant(weights.array(f"{name}.weight", size)))
    return ops.add(scaled, constant(weights.array(f"{name}.bias", size)))


def activation(name: str) -> Callable[[Node], Node]:
    """Raises `LoadFailed` for an activation that has no node here."""
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise LoadFailed(f"activation '{name}' is not computed; known are {known}", code="model_load_failed")
    return ACTIVATIONS[name]


def number(value: float) -> Node:
    return ops.constant(np.float32(value))


def width_of(ids: Node) -> Any:
    """The second dimension of (rows, width), as a scalar."""
    return ops.gather(ops.shape_of(ids), ops.constant(np.int64(1)), ops.constant(np.int64(0)))
