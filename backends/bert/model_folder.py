"""What a model's folder says about it: its shape, and how its output becomes a vector.

The latter, in sentence-transformers' formats, is in `modules.json`, `1_Pooling/config.json`,
`sentence_bert_config.json` (and its cousins) and `config_sentence_transformers.json`. The spec's `options`
(`pooling`, `normalize`, `prefixes`, `default_prefix`) stand above the folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from backends.bert.json_files import find, read_list, read_object
from backends.bert.model_config import read_shape
from backends.errors import LoadFailed
from configs.models import ModelSpec

Pooling = Literal["mean", "cls", "max", "last"]

# sentence-transformers' names of the same things: flags of the older format, words of the newer.
POOLING_WORDS: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
    "cls": "cls",
    "mean": "mean",
    "max": "max",
    "lasttoken": "last",
}
KNOWN_MODULES = {"Transformer", "Pooling", "Normalize"}
READING_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


@dataclass(frozen=True, kw_only=True)
class BertModel:
    """The shape of one encoder and how its output becomes a vector.

    `name` is the spec's, `architecture` the `model_type` of `config.json`. `max_positions` is how many
    tokens the position table serves, `max_tokens` how many one input may have, special tokens included.
    `position_offset` is the row of the position table that the first token takes. `prefixes` are templates
    by the name that a request's `input_type` uses. `lower_case`: texts are lowered before the tokenizer.
    """

    name: str
    architecture: str
    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocab_size: int
    max_positions: int
    max_tokens: int
    pad_id: int = 0
    position_offset: int = 0
    pooling: Pooling = "mean"
    normalize: bool = True
    prefixes: Mapping[str, str] = field(default_factory=dict)
    default_prefix: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of the spec, for what a request leaves out
    max_inputs: int | None = None  # per request, as the spec limits it
    lower_case: bool = False
    activation: str = "gelu"
    layer_norm_eps: float = 1e-12
    relative_buckets: int = 32  # MPNet only


def read_model_folder(spec: ModelSpec, folder: Path) -> BertModel:
    """Read the folder of `spec`. Raises `LoadFailed` naming the file and what is wrong with it."""
    shape = read_shape(folder / "config.json")
    modules = _modules(folder)
    reading_file = find(folder, READING_FILES)
    reading = read_object(reading_file) if reading_file else {}
    prefixes, default_prefix = read_prefixes(spec, folder)
    return BertModel(
        **shape,
        name=spec.name,
        max_tokens=max_tokens(spec, _declared_length(reading), shape["max_positions"]),
        lower_case=reading.get("do_lower_case") is True,
        pooling=_pooling(spec, folder, modules),
        normalize=read_flag(spec, "normalize", modules is None or "Normalize" in modules),
        prefixes=prefixes,
        default_prefix=default_prefix,
        defaults=spec.defaults,
        max_inputs=spec.limits.max_inputs,
    )


def max_tokens(spec: ModelSpec, declared: int | None, positions: int) -> int:
    """Tokens per input: the spec's limit, else the model's own, else its positions.

    Raises `LoadFailed` when the spec asks for more positions than the model was trained with.
    """
    wanted = spec.limits.max_tokens
    if wanted is None:
        return min(declared or positions, positions)
    if wanted > positions:
        raise LoadFailed(
            f"limits.max_tokens of model '{spec.name}' is {wanted}, but the model has {positions} positions",
            code="model_load_failed",
        )
    return wanted


def _modules(folder: Path) -> dict[str, Path] | None:
    """The modules of `modules.json`: kind → folder; None when the model has no such file."""
    path = folder / "modules.json"
    if not path.exists():
        return None
    modules = {
        str(entry.get("type", "")).rpartition(".")[2]: folder / str(entry.get("path", ""))
        for entry in read_list(path)
    }
    unknown = sorted(modules.keys() - KNOWN_MODULES)
    if unknown:
        raise LoadFailed(
            f"modules.json asks for {', '.join(unknown)}; computed are {', '.join(sorted(KNOWN_MODULES))}",
            code="model_load_failed",
        )
    return modules


def _pooling(spec: ModelSpec, folder: Path, modules: dict[str, Path] | None) -> Pooling:
    """The spec's pooling, else the one of the Pooling module, else the mean (sentence-transformers'
    own default for a folder without these files)."""
    wanted = spec.options.get("pooling")
    if wanted is not None:
        if wanted not in list(get_args(Pooling)):
            raise LoadFailed(
                f"options.pooling of model '{spec.name}' is {wanted!r}; known are {get_args(Pooling)}",
                code="model_load_failed",
            )
        return cast(Pooling, wanted)
    path = (modules or {}).get("Pooling", folder / "1_Pooling") / "config.json"
    return _declared_pooling(path) if path.exists() else "mean"


def _declared_pooling(path: Path) -> Pooling:
    config = read_object(path)
    named = config.get("pooling_mode", [])
    modes = [str(mode) for mode in (named if isinstance(named, list) else [named])]
    modes += [name for name, on in config.items() if name.startswith("pooling_mode_") and on]
    if config.get("include_prompt") is False:
        modes.append("without the prefix")
    if len(modes) != 1 or modes[0] not in POOLING_WORDS:
        raise LoadFailed(
            f"{path.parent.name}/{path.name} asks for pooling {modes}; computed are {get_args(Pooling)}",
            code="model_load_failed",
        )
    return POOLING_WORDS[modes[0]]


def _declared_length(reading: dict[str, Any]) -> int | None:
    length = reading.get("max_seq_length")
    return length if isinstance(length, int) and length > 0 else None


def read_prefixes(spec: ModelSpec, folder: Path) -> tuple[dict[str, str], str | None]:
    """Templates by name, and the name of the one that holds when a request names none: the spec's, else
    the folder's. Raises `LoadFailed`."""
    path = folder / "config_sentence_transformers.json"
    declared = read_object(path) if path.exists() else {}
    prefixes = spec.options.get("prefixes", declared.get("prompts")) or {}
    default = spec.options.get("default_prefix", declared.get("default_prompt_name"))
    if not isinstance(prefixes, dict) or not all(isinstance(text, str) for text in prefixes.values()):
        raise LoadFailed(
            f"the prefixes of model '{spec.name}' must be texts by name", code="model_load_failed"
        )
    if default is not None and not (isinstance(default, str) and default in prefixes):
        raise LoadFailed(f"model '{spec.name}' has no prefix named {default!r}", code="model_load_failed")
    return {str(name): text for name, text in prefixes.items()}, default


def read_flag(spec: ModelSpec, option: str, otherwise: bool) -> bool:
    """An option that is true or false. Raises `LoadFailed`."""
    value = spec.options.get(option)
    if value is None:
        return otherwise
    if not isinstance(value, bool):
        raise LoadFailed(
            f"options.{option} of model '{spec.name}' must be true or false", code="model_load_failed"
        )
    return value
