"""The whole graph of a bert model: token ids in, finished vectors out."""

import numpy as np
import openvino as ov
import openvino.opset15 as ops

from backends.bert.graph_encoder import encoder
from backends.bert.graph_ops import whole, width_of
from backends.bert.graph_pooling import pooled, unit_length
from backends.bert.graph_weights import Weights, layout_of
from backends.bert.model_folder import BertModel


def build_graph(model: BertModel, weights: Weights) -> ov.Model:
    """Inputs `ids` int64 (rows, width), padded with the padding id, and `lengths` int64 (rows);
    output `vectors` float32 (rows, hidden). Both dimensions are dynamic: buckets of fixed shapes were
    measured and bring nothing.

    The mask is made from the lengths here, so that it cannot have a wrong width. The graph checks
    nothing: the caller answers for ids, lengths and at least one row. Raises `LoadFailed` when the
    weights do not fit the model.
    """
    ids = ops.parameter([-1, -1], np.int64, name="ids")
    lengths = ops.parameter([-1], np.int64, name="lengths")
    columns = ops.range(ops.constant(np.int64(0)), width_of(ids), ops.constant(np.int64(1)), "i64")
    inside = ops.less(ops.unsqueeze(columns, whole(0)), ops.unsqueeze(lengths, whole(1)))
    mask = ops.convert(inside, "f32")
    hidden = encoder(model, layout_of(model.architecture), weights, ids, mask)
    vectors = pooled(model.pooling, hidden, mask, lengths)
    if model.normalize:
        vectors = unit_length(vectors)
    return ov.Model([ops.result(vectors, name="vectors")], [ids, lengths], model.architecture)
