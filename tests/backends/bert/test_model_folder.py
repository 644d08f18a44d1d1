"""What a folder says about its model, and how a folder that is wrong is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from backends.bert.model_folder import BertModel, read_model_folder
from backends.errors import LoadFailed
from configs.models import ModelSpec

CONFIG = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 120,
    "max_position_embeddings": 64,
}
MODULES = [
    {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
NORMALIZE = {
    "idx": 2,
    "path": "2_Normalize",
    "type": "sentence_transformers.base.modules.normalize.Normalize",
}


def write(folder: Path, **files: Any) -> None:
    """Files by name, `__` for a slash; what is not bytes is written as JSON."""
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def read(folder: Path, *, limits: dict[str, int] | None = None, **options: object) -> BertModel:
    return read_model_folder(ModelSpec(name="m", family="bert", options=options, limits=limits or {}), folder)


def refused(folder: Path, **spec: Any) -> str:
    with pytest.raises(LoadFailed) as caught:
        read(folder, **spec)
    assert caught.value.code == "model_load_failed"
    assert str(folder) not in caught.value.message
    return caught.value.message


def test_a_folder_without_the_files_of_sentence_transformers_has_defaults(tmp_path: Path) -> None:
    write(tmp_path, config=CONFIG)
    model = read(tmp_path)
    assert (model.architecture, model.hidden, model.max_positions, model.max_tokens) == ("bert", 32, 64, 64)
    assert (model.pooling, model.normalize, model.prefixes) == ("mean", True, {})


def test_distilbert_has_names_of_its_own(tmp_path: Path) -> None:
    distil = {"model_type": "distilbert", "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64}
    write(tmp_path, config=distil | {"vocab_size": 9, "max_position_embeddings": 16, "activation": "relu"})
    model = read(tmp_path)
    assert (model.hidden, model.layers, model.heads, model.intermediate) == (32, 3, 4, 64)
    assert model.activation == "relu"


@pytest.mark.parametrize("architecture", ["roberta", "xlm-roberta", "camembert", "mpnet"])
def test_positions_behind_the_padding_id_are_not_counted(tmp_path: Path, architecture: str) -> None:
    config = CONFIG | {"model_type": architecture, "max_position_embeddings": 514, "pad_token_id": 1}
    write(tmp_path, config=config)
    model = read(tmp_path)
    assert (model.position_offset, model.max_positions) == (2, 512)


def test_pooling_and_normalisation_come_from_the_modules(tmp_path: Path) -> None:
    pooling = {
        "word_embedding_dimension": 32,
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
    }
    write(tmp_path, config=CONFIG, modules=MODULES, **{"1_Pooling__config": pooling})
    assert (read(tmp_path).pooling, read(tmp_path).normalize) == ("cls", False)
    write(tmp_path, modules=[*MODULES, NORMALIZE], **{"1_Pooling__config": {"pooling_mode": "lasttoken"}})
    assert (read(tmp_path).pooling, read(tmp_path).normalize) == ("last", True)
    model = read(tmp_path, pooling="max", normalize=False)
    assert (model.pooling, model.normalize) == ("max", False)


def test_the_longest_input_is_the_specs_then_the_models_then_its_positions(tmp_path: Path) -> None:
    write(tmp_path, config=CONFIG, sentence_bert_config={"max_seq_length": 48})
    assert read(tmp_path).max_tokens == 48
    assert read(tmp_path, limits={"max_tokens": 60}).max_tokens == 60
    write(tmp_path, sentence_bert_config={"max_seq_length": 4096})
    assert read(tmp_path).max_tokens == 64
    assert "65" in refused(tmp_path, limits={"max_tokens": 65})


def test_lower_case_is_asked_for_by_the_file_of_lengths(tmp_path: Path) -> None:
    write(tmp_path, config=CONFIG, sentence_roberta_config={"max_seq_length": 48, "do_lower_case": True})
    assert (read(tmp_path).max_tokens, read(tmp_path).lower_case) == (48, True)
    write(tmp_path, sentence_bert_config={"max_seq_length": 48, "do_lower_case": False})
    assert read(tmp_path).lower_case is False


def test_prefixes_come_from_the_prompts_or_the_spec(tmp_path: Path) -> None:
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "passage"}
    write(tmp_path, config=CONFIG, config_sentence_transformers=prompts)
    assert read(tmp_path).prefixes == prompts["prompts"]
    assert read(tmp_path).default_prefix == "passage"
    model = read(tmp_path, prefixes={"question": "? "}, default_prefix=None)
    assert (model.prefixes, model.default_prefix) == ({"question": "? "}, None)


def test_files_without_prompts_are_no_error(tmp_path: Path) -> None:
    write(tmp_path, config=CONFIG, config_sentence_transformers={"__version__": {}, "prompts": None})
    assert read(tmp_path).prefixes == {}


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    assert "no config.json" in refused(tmp_path)
    for content in (b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000):
        write(tmp_path, config=content)
        assert refused(tmp_path).startswith("config.json cannot be read")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model_type": None}, "model_type"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": "32"}, "hidden_size"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"num_attention_heads": 5}, "5 heads"),
        ({"vocab_size": -1}, "vocab_size"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"layer_norm_eps": "tiny"}, "layer_norm_eps"),
        ({"model_type": "roberta", "pad_token_id": 70}, "positions"),
    ],
)
def test_a_wrong_number_in_the_config_is_named(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    write(tmp_path, config=CONFIG | change)
    assert word in refused(tmp_path)


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"modules": [*MODULES, {"type": "sentence_transformers.models.Dense", "path": "3"}]}, "Dense"),
        ({"modules": {}}, "modules.json"),
        (
            {"1_Pooling__config": {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}},
            "1_Pooling",
        ),
        ({"1_Pooling__config": {"pooling_mode": "weightedmean"}}, "weightedmean"),
        ({"1_Pooling__config": {}}, "1_Pooling"),
        ({"1_Pooling__config": {"pooling_mode": [["mean"]]}}, "1_Pooling"),
        ({"1_Pooling__config": {"pooling_mode": "mean", "include_prompt": False}}, "without the prefix"),
        ({"config_sentence_transformers": {"prompts": {"query": 3}}}, "prefixes"),
        ({"config_sentence_transformers": {"default_prompt_name": "query"}}, "query"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(tmp_path: Path, files: dict[str, Any], word: str) -> None:
    write(tmp_path, config=CONFIG, **files)
    assert word in refused(tmp_path)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"pooling": "sum"}, "'sum'"),
        ({"pooling": ["mean"]}, "options.pooling"),
        ({"normalize": "yes"}, "options.normalize"),
        ({"prefixes": ["query"]}, "prefixes"),
        ({"default_prefix": "query"}, "'query'"),
        ({"default_prefix": ["query"]}, "'query'"),
    ],
)
def test_a_wrong_option_of_the_spec_is_named(tmp_path: Path, options: dict[str, Any], word: str) -> None:
    write(tmp_path, config=CONFIG)
    assert word in refused(tmp_path, **options)
