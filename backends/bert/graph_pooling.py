"""Hidden states to one vector per row, inside the graph.

The four ways are those of sentence-transformers' Pooling module; the normalisation is torch's
`functional.normalize` (divide by the length, at least 1e-12).
"""

import numpy as np
import openvino.opset15 as ops
from openvino import Node

from backends.bert.graph_encoder import MASKED
from backends.bert.graph_ops import number, whole
from backends.bert.model_folder import Pooling


def pooled(pooling: Pooling, hidden: Node, mask: Node, lengths: Node) -> Node:
    """(rows, width, hidden), mask (rows, width) and lengths (rows) to (rows, hidden)."""
    if pooling == "cls":
        return ops.gather(hidden, ops.constant(np.int64(0)), ops.constant(np.int64(1)))
    if pooling == "last":
        last = ops.subtract(lengths, ops.constant(np.int64(1)))
        return ops.gather(hidden, last, ops.constant(np.int64(1)), batch_dims=1)
    column = ops.unsqueeze(mask, whole(2))
    if pooling == "max":
        lowered = ops.multiply(ops.subtract(number(1.0), column), number(MASKED))
        return ops.reduce_max(ops.add(hidden, lowered), whole(1))
    total = ops.reduce_sum(ops.multiply(hidden, column), whole(1))
    return ops.divide(total, ops.reduce_sum(column, whole(1)))


def unit_length(vectors: Node) -> Node:
    length = ops.sqrt(ops.reduce_sum(ops.multiply(vectors, vectors), whole(1), keep_dims=True))
    return ops.divide(vectors, ops.maximum(length, number(1e-12)))
