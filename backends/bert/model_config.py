"""The shape of an encoder, from its `config.json`.

Source of the fields: the configuration classes of transformers (`BertConfig`, `DistilBertConfig`,
`RobertaConfig`, `XLMRobertaConfig`, `CamembertConfig`, `MPNetConfig`).
"""

from pathlib import Path
from typing import Any

from backends.bert.json_files import read_object, whole_number
from backends.errors import LoadFailed

# These count positions from the padding id + 1 on, so that the first rows of their table are never used.
OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "mpnet"}


def read_shape(path: Path) -> dict[str, Any]:
    """The fields of `BertModel` that `config.json` decides. Raises `LoadFailed` naming the field."""
    config = read_object(path)
    architecture = config.get("model_type")
    if not isinstance(architecture, str):
        raise _wrong(path, "has no 'model_type'")
    if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
        raise _wrong(path, f"asks for position embeddings of type {kind!r}; computed is 'absolute'")
    pad_id = _pad_id(config, path, architecture)
    offset = pad_id + 1 if architecture in OFFSET_POSITIONS else 0
    rows = whole_number(config, path, "max_position_embeddings")
    if rows <= offset:
        raise _wrong(path, f"has {rows} positions, the first {offset} of them unused")
    return {
        "architecture": architecture,
        **_sizes(config, path),
        "max_positions": rows - offset,
        "pad_id": pad_id,
        "position_offset": offset,
        "activation": str(config.get("hidden_act", config.get("activation", "gelu"))),
        "layer_norm_eps": _epsilon(config, path),
    }


def _sizes(config: dict[str, Any], path: Path) -> dict[str, int]:
    """The whole numbers; DistilBERT has its own names for most."""
    names = {
        "hidden": ("hidden_size", "dim"),
        "layers": ("num_hidden_layers", "n_layers"),
        "heads": ("num_attention_heads", "n_heads"),
        "intermediate": ("intermediate_size", "hidden_dim"),
        "vocab_size": ("vocab_size",),
    }
    sizes = {ours: whole_number(config, path, *theirs) for ours, theirs in names.items()}
    if sizes["hidden"] % sizes["heads"]:
        raise _wrong(path, f"has hidden size {sizes['hidden']}, no multiple of {sizes['heads']} heads")
    if config.get("relative_attention_num_buckets") is not None:
        sizes["relative_buckets"] = whole_number(config, path, "relative_attention_num_buckets")
    return sizes


def _pad_id(config: dict[str, Any], path: Path, architecture: str) -> int:
    value = config.get("pad_token_id")
    if value is None:
        return 1 if architecture in OFFSET_POSITIONS else 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _wrong(path, f"has 'pad_token_id' {value!r}, which is no token id")
    return value


def _epsilon(config: dict[str, Any], path: Path) -> float:
    value = config.get("layer_norm_eps", 1e-12)  # DistilBERT has it in its code only
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1:
        raise _wrong(path, f"has 'layer_norm_eps' {value!r}, which is no small number")
    return float(value)


def _wrong(path: Path, what: str) -> LoadFailed:
    return LoadFailed(f"{path.name} {what}", code="model_load_failed")
