"""Make a GGUF file of an encoder's safetensors file, with numpy and the `gguf` writer alone.

The bytes depend on the input alone (no date, no name of a tool or of a folder), so that a spec can
state the digest of the file that comes out.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, LlamaFileType, PoolingType

from backends.bert.model_folder import BertModel, read_model_folder
from backends.errors import LoadFailed
from backends.importers.bert_tensors import check_supported, gguf_tensors
from backends.importers.gguf_vocabulary import Vocabulary, read_vocabulary
from backends.importers.safetensors import read_folder
from configs.models import ModelSpec

FileType = Literal["f32", "f16", "q8_0"]

FILE_TYPES: dict[FileType, tuple[LlamaFileType, GGMLQuantizationType]] = {
    "f32": (LlamaFileType.ALL_F32, GGMLQuantizationType.F32),
    "f16": (LlamaFileType.MOSTLY_F16, GGMLQuantizationType.F16),
    "q8_0": (LlamaFileType.MOSTLY_Q8_0, GGMLQuantizationType.Q8_0),
}
_POOLING = {"mean": PoolingType.MEAN, "cls": PoolingType.CLS, "last": PoolingType.LAST}
# Added to activations as they are, so that llama.cpp wants them in float32.
_ALWAYS_F32 = ("position_embd.weight", "token_types.weight")
_BLOCK = 32  # values per q8_0 block


def convert(folder: Path, out: Path, *, type: FileType = "f16") -> None:
    """Write the model in `folder` (config.json, model.safetensors, tokenizer.json, sentence-transformers
    files) to the GGUF file `out`, its matrices as `type`.

    Raises `LoadFailed`: an architecture, activation, pooling or tokenizer that llama.cpp does not have,
    or files that are missing or do not fit together.
    """
    if type not in get_args(FileType):
        raise LoadFailed(
            f"unknown GGUF type '{type}'; known are {', '.join(get_args(FileType))}", code="model_load_failed"
        )
    model = read_model_folder(ModelSpec(name="import", family="bert"), folder)
    check_supported(model)
    if model.pooling not in _POOLING:
        raise LoadFailed(f"llama.cpp has no '{model.pooling}' pooling", code="model_load_failed")
    vocabulary = read_vocabulary(folder, size=model.vocab_size, pad_id=model.pad_id)
    write_gguf(out, model, vocabulary, gguf_tensors(read_folder(folder), model), type=type)


def write_gguf(
    out: Path,
    model: BertModel,
    vocabulary: Vocabulary,
    tensors: Iterable[tuple[str, npt.NDArray[np.float32]]],
    *,
    type: FileType,
) -> None:
    """Write one file; `out` appears when it is whole."""
    partial = out.with_name(out.name + ".writing")
    writer = gguf.GGUFWriter(partial, "bert")
    try:
        _add_shape(writer, model, type)
        _add_vocabulary(writer, vocabulary)
        for name, values in tensors:
            stored, kind = encode(name, values, type)
            writer.add_tensor(name, stored, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(partial, out)
    finally:
        writer.close()
        partial.unlink(missing_ok=True)


def encode(
    name: str, values: npt.NDArray[np.float32], type: FileType
) -> tuple[npt.NDArray[np.generic], GGMLQuantizationType]:
    """One tensor as it is stored. Vectors stay float32: they are small and cost accuracy; so do matrices
    whose rows are no whole number of blocks when the file is q8_0 (they become float16)."""
    if values.ndim < 2 or name in _ALWAYS_F32:
        return values, GGMLQuantizationType.F32
    kind = FILE_TYPES[type][1]
    if kind == GGMLQuantizationType.Q8_0 and values.shape[-1] % _BLOCK:
        kind = GGMLQuantizationType.F16
    return gguf.quants.quantize(values, kind), kind


def _add_shape(writer: gguf.GGUFWriter, model: BertModel, type: FileType) -> None:
    file_type, kind = FILE_TYPES[type]
    writer.add_file_type(file_type)
    if kind == GGMLQuantizationType.Q8_0:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(model.max_positions)
    writer.add_embedding_length(model.hidden)
    writer.add_block_count(model.layers)
    writer.add_feed_forward_length(model.intermediate)
    writer.add_head_count(model.heads)
    writer.add_layer_norm_eps(model.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(_POOLING[model.pooling])


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.kind)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_type_count(1)  # all that is ever used; llama.cpp refuses a bert that states none
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.kind == "t5":
        writer.add_add_space_prefix(True)
        writer.add_remove_extra_whitespaces(True)
        if vocabulary.charsmap:
            writer.add_precompiled_charsmap(vocabulary.charsmap)
    for name, number in sorted(vocabulary.special.items()):
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", number)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(vocabulary.kind != "bert")  # WordPiece closes with its separator by itself
