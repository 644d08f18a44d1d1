"""Which GGUF file a model runs on, and what that file says about the model.

A file that we made lies beside `config.json` and `tokenizer.json`, which then decide. A file that a user
brings may lie alone: its metadata (`<architecture>.*` of ggml's docs/gguf.md) must say all.
"""

from dataclasses import replace
from pathlib import Path
from typing import cast

from gguf import LlamaFileType

from backends.bert.model_folder import (
    BertModel,
    Pooling,
    max_tokens,
    read_flag,
    read_model_folder,
    read_prefixes,
)
from backends.errors import LoadFailed
from backends.gguf_file import GGUFFile, read_gguf
from configs.models import ModelSpec

RUNTIME = "llamacpp"
# The encoders among llama.cpp's graphs. Others would load and then compute something else.
ARCHITECTURES = (
    "bert",
    "eurobert",
    "jina-bert-v2",
    "jina-bert-v3",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
)
_POOLING: dict[int, Pooling] = {1: "mean", 2: "cls", 3: "last"}  # enum llama_pooling_type, llama.h
NATIVE_POOLING = {name: number for number, name in _POOLING.items()}


def open_model_file(spec: ModelSpec, folder: Path) -> GGUFFile:
    """The file that `options.gguf` names, else the first GGUF file of the spec, else the only one in the
    folder. Raises `LoadFailed` when there is none, or it is broken or no encoder."""
    named = spec.options.get("gguf")
    listed = [named] if named else [file.path for file in spec.files_for(RUNTIME)]
    paths = [folder / str(name) for name in listed if str(name).endswith(".gguf")]
    if not paths and len(found := sorted(folder.glob("*.gguf"))) == 1:
        paths = found
    if not paths:
        raise LoadFailed(
            f"model '{spec.name}' has no GGUF file for the {RUNTIME} runtime", code="model_load_failed"
        )
    file = read_gguf(paths[0])
    architecture = file.text("general.architecture")
    if architecture not in ARCHITECTURES:
        raise LoadFailed(
            f"{file.path.name} holds a '{architecture}' model; this family takes {', '.join(ARCHITECTURES)}",
            code="model_load_failed",
        )
    return file


def read_model(spec: ModelSpec, folder: Path) -> BertModel:
    """The model as `config.json` describes it where there is one, else as its GGUF file does; either way
    checked against the tensors in the file. Raises `LoadFailed`."""
    file = open_model_file(spec, folder)
    declared = _declared(file, spec, folder)
    if not (folder / "config.json").exists():
        return declared
    model = read_model_folder(spec, folder)
    for name in ("hidden", "layers", "vocab_size"):
        ours, theirs = getattr(model, name), getattr(declared, name)
        if ours != theirs:
            raise LoadFailed(
                f"{file.path.name} does not belong to config.json: {name} is {theirs}, not {ours}",
                code="model_load_failed",
            )
    if model.pooling not in NATIVE_POOLING:
        raise LoadFailed(f"llama.cpp has no '{model.pooling}' pooling", code="model_load_failed")
    return replace(model, max_tokens=min(model.max_tokens, declared.max_positions))


def precision(file: GGUFFile) -> str:
    """How the matrices are stored, as people call it: "f16", "q8_0"."""
    try:
        name = LlamaFileType(file.number("general.file_type")).name
    except (LoadFailed, ValueError):
        name = file.tensors["token_embd.weight"].type.name
    return name.removeprefix("MOSTLY_").removeprefix("ALL_").lower()


def _declared(file: GGUFFile, spec: ModelSpec, folder: Path) -> BertModel:
    architecture = file.text("general.architecture")
    words = file.tensors.get("token_embd.weight")
    if words is None or len(words.shape) != 2:
        raise LoadFailed(f"{file.path.name} has no token embeddings", code="model_load_failed")
    positions = file.number(f"{architecture}.context_length")
    prefixes, default_prefix = read_prefixes(spec, folder)
    eps = file.metadata.get(f"{architecture}.attention.layer_norm_epsilon", 1e-12)
    return BertModel(
        name=spec.name,
        architecture=architecture,
        hidden=file.number(f"{architecture}.embedding_length"),
        layers=file.number(f"{architecture}.block_count"),
        heads=file.number(f"{architecture}.attention.head_count"),
        intermediate=file.number(f"{architecture}.feed_forward_length"),
        vocab_size=words.shape[0],
        max_positions=positions,
        max_tokens=max_tokens(spec, None, positions),
        pooling=_pooling(file, spec),
        normalize=read_flag(spec, "normalize", True),
        prefixes=prefixes,
        default_prefix=default_prefix,
        defaults=spec.defaults,
        max_inputs=spec.limits.max_inputs,
        layer_norm_eps=float(eps) if isinstance(eps, float) else 1e-12,
    )


def _pooling(file: GGUFFile, spec: ModelSpec) -> Pooling:
    """The spec's, else the file's; a file that says nothing gets the mean, as sentence-transformers does."""
    wanted = spec.options.get("pooling")
    if wanted is not None:
        if wanted not in list(NATIVE_POOLING):
            known = ", ".join(NATIVE_POOLING)
            raise LoadFailed(
                f"options.pooling is {wanted!r}; llama.cpp computes {known}", code="model_load_failed"
            )
        return cast(Pooling, wanted)
    number = file.metadata.get(f"{file.text('general.architecture')}.pooling_type")
    if number is None or number == 0:
        return "mean"
    if number not in _POOLING:
        raise LoadFailed(
            f"{file.path.name} asks for pooling {number}: a reranker, not an embedding model",
            code="model_load_failed",
        )
    return _POOLING[int(number)]
