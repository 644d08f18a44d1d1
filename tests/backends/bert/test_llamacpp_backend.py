"""A whole llama.cpp backend: bad items, which file it takes, and files that it refuses with the reason."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from backends import builds
from backends.bert.gguf_model import open_model_file, read_model
from backends.bert.llamacpp import LlamaCppBackend
from backends.bert.model_folder import BertModel
from backends.bert.selftest import lowest_cosine
from backends.bert.tiny_model import TINY, write_tiny
from backends.bert.tokenizer import BertTokenizer
from backends.errors import LoadFailed
from backends.importers.gguf import convert
from configs.models import Limits, ModelFile, ModelSpec
from tests.backends.listed_feed import answers, codes, part, run, vectors
from tests.fixtures.tiny_models import gguf_folder, model_folder

pytestmark = pytest.mark.bindings

SPEC = ModelSpec(name="tiny", family="bert")
SENTENCES = ["the slot keeps its engine loaded", "a", "the the the slot.", "loading, keeping; the engine"]


def option(**options: object) -> ModelSpec:
    return SPEC.model_copy(update={"options": options})


def test_bad_items_fail_alone(tmp_path: Path) -> None:
    backend = LlamaCppBackend.load(SPEC, gguf_folder("bert", tmp_path / "m"), 1)
    parts = [
        part(1, input=SENTENCES),
        part(2, input=["fine", ""]),
        part(3, input=[[2, 500, 3]]),
        part(4, input="the " * 100),
        part(5, input="\ud800 lone surrogate"),
        part(6, input="the slot", endpoint="/v1/completions"),
        part(7, input=[2, 5, 3]),
        part(8, input="the " * 100, overlong="truncate"),
    ]
    events = run(backend, parts)
    assert codes(events) == {
        2: "empty_input",
        3: "invalid_token_id",
        4: "context_length_exceeded",
        5: "invalid_json",
        6: "endpoint_not_supported",
    }
    found = answers(events)
    assert vectors(found[1]).shape == (4, 32)
    assert np.isfinite(vectors(found[8])).all()
    assert backend.info["precision"] == "f32"
    backend.close()


def test_a_quantised_file_is_held_to_the_bar_of_its_own_weights(tmp_path: Path) -> None:
    folder = model_folder("bert", tmp_path / "m")
    convert(folder, folder / "small.gguf", type="q8_0")
    assert LlamaCppBackend.load(SPEC, folder, 1).info["precision"] == "q8_0"


def test_weights_that_are_not_the_declared_ones_fail_the_self_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A native build that computes something else than numpy does is reported as such."""
    folder, other = gguf_folder("bert", tmp_path / "m"), gguf_folder("distilbert", tmp_path / "other")
    right = LlamaCppBackend.load_encoder

    def wrong(model: BertModel, spec: ModelSpec, _: Path, threads: int) -> Any:
        return right(model, spec, other, threads)

    monkeypatch.setattr(LlamaCppBackend, "load_encoder", wrong)
    with pytest.raises(LoadFailed, match="self-test") as refused:
        LlamaCppBackend.load(SPEC, folder, 1)
    assert refused.value.code == "bad_native_build"


def test_the_file_that_the_spec_names_is_used(tmp_path: Path) -> None:
    folder = gguf_folder("bert", tmp_path / "m")
    convert(folder, folder / "half.gguf", type="f16")
    listed = SPEC.model_copy(
        update={
            "files": tuple(
                ModelFile(path=name, source=f"file:{name}", runtimes=("llamacpp",))
                for name in ("config.json", "half.gguf", "model.gguf")
            )
        }
    )
    assert open_model_file(listed, folder).path.name == "half.gguf"
    assert open_model_file(option(gguf="model.gguf"), folder).path.name == "model.gguf"
    with pytest.raises(LoadFailed, match="has no GGUF file"):
        open_model_file(SPEC, folder)  # two of them, and no word which


def test_a_gguf_file_alone_is_enough(tmp_path: Path) -> None:
    folder = gguf_folder("bert", tmp_path / "m")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copyfile(folder / "model.gguf", alone / "any-name.gguf")
    whole, lone = (LlamaCppBackend.load(SPEC, place, 1) for place in (folder, alone))
    assert lone.info == whole.info | {"max_tokens": 64}
    left, right = (vectors(answers(run(one, [part(1, input=SENTENCES)]))[1]) for one in (whole, lone))
    assert lowest_cosine(left, right) >= 0.99999
    assert codes(run(lone, [part(1, input="the " * 63)])) == {1: "context_length_exceeded"}


def test_options_of_a_gguf_file_alone_are_heard_and_checked(tmp_path: Path) -> None:
    gguf_folder("bert", tmp_path)
    (tmp_path / "config.json").unlink()
    spec = option(pooling="cls", normalize=False, prefixes={"query": "q: "}, default_prefix="query")
    model = read_model(spec, tmp_path)
    assert (model.pooling, model.normalize, model.default_prefix) == ("cls", False, "query")
    assert model.prefixes == {"query": "q: "}
    misspelt: list[dict[str, object]] = [
        {"pooling": ["cls"]},
        {"normalize": "no"},
        {"default_prefix": "none"},
    ]
    for wrong in misspelt:
        with pytest.raises(LoadFailed) as refused:
            read_model(option(**wrong), tmp_path)
        assert refused.value.code == "model_load_failed"


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta"])
def test_llamacpps_tokenizer_agrees_on_plain_text(name: str, tmp_path: Path) -> None:
    from backends.bert.llamacpp_tokenizer import LlamaTokenizer

    folder = gguf_folder(name, tmp_path / "m")
    own, native = BertTokenizer.from_folder(folder), LlamaTokenizer(folder / "model.gguf")
    assert native.encode(SENTENCES[:3]) == own.encode(SENTENCES[:3])
    assert (native.opening, native.closing) == (own.opening, own.closing)
    assert native.encode([""]) == [[*own.opening, *own.closing]]


# --- files that cannot be served -------------------------------------------------------------------------


def load_refusal(spec: ModelSpec, folder: Path) -> str:
    with pytest.raises(LoadFailed) as refused:
        LlamaCppBackend.load(spec, folder, 1)
    assert refused.value.code == "model_load_failed"
    assert str(folder) not in refused.value.message
    return refused.value.message


def take_it_away(folder: Path) -> None:
    (folder / "model.gguf").unlink()


def cut_it_short(folder: Path) -> None:
    data = (folder / "model.gguf").read_bytes()
    (folder / "model.gguf").write_bytes(data[: len(data) // 2])


def put_text_in_its_place(folder: Path) -> None:
    (folder / "model.gguf").write_text("version https://git-lfs.github.com/spec/v1")


def change_the_config(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))


def write_another_architecture(folder: Path) -> None:
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (take_it_away, "has no GGUF file"),
        (cut_it_short, "is cut short"),
        (put_text_in_its_place, "is not a GGUF file"),
        (change_the_config, "layers is 2, not 3"),
        (write_another_architecture, "holds a 'llama' model"),
    ],
)
def test_a_file_that_cannot_be_served_is_refused_with_the_reason(
    harm: Callable[[Path], None], expected: str, tmp_path: Path
) -> None:
    folder = gguf_folder("bert", tmp_path / "m")
    harm(folder)
    assert expected in load_refusal(SPEC, folder)


def test_llamacpps_own_reason_reaches_the_error(tmp_path: Path) -> None:
    """A file whose header is fine and whose tensors are not those of the graph."""
    folder = tmp_path / "m"
    folder.mkdir()
    path = folder / "model.gguf"
    write_tiny(path, "f32")
    data = path.read_bytes()
    assert data.count(b"blk.1.ffn_up.weight") == 1
    path.write_bytes(data.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_Up.weight"))
    with pytest.raises(LoadFailed, match=r"blk\.1\.ffn_up\.weight"):
        LlamaCppBackend.load_encoder(TINY, SPEC, folder, 1)


def test_pooling_and_limits_that_the_model_lacks_are_refused(tmp_path: Path) -> None:
    folder = gguf_folder("bert", tmp_path / "m")
    assert "llama.cpp computes mean, cls, last" in load_refusal(option(pooling="max"), folder)
    too_long = SPEC.model_copy(update={"limits": Limits(max_tokens=65)})
    assert "64 positions" in load_refusal(too_long, folder)


def test_a_build_that_does_not_suit_the_cpu_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "instruction_sets", frozenset)
    with pytest.raises(LoadFailed, match="another CPU") as refused:
        LlamaCppBackend.load(SPEC, gguf_folder("bert", tmp_path / "m"), 1)
    assert refused.value.code == "bad_native_build"
