"""The OpenVINO runtime: precision, the compiled cache, and models that it must refuse."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.bert import openvino
from backends.bert.model_folder import read_model_folder
from backends.bert.openvino import OpenVINOBackend, open_encoder, padded, precisions
from backends.compiled_cache import FOLDER, WHOLE, cache_folder, identity
from backends.errors import LoadFailed
from configs.models import ModelSpec
from tests.fixtures.tiny_models import model_folder

SPEC = ModelSpec(name="m", family="bert")
ROWS = [[2, 7, 8, 3], [2, 9, 3]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole tiny model of its own."""
    return model_folder("bert", tmp_path / "model")


def encode(folder: Path) -> np.ndarray:
    return open_encoder(read_model_folder(SPEC, folder), folder, 1, "f32").encode(ROWS).copy()


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_rows_are_padded_to_the_longest() -> None:
    ids, lengths = padded([[5, 6, 7], [8]], pad_id=1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert lengths.tolist() == [3, 1]
    assert ids.dtype == lengths.dtype == np.int64


@pytest.mark.parametrize(
    ("offered", "wanted", "expected"),
    [
        (["FP32"], "auto", ["f32"]),
        (["BF16", "FP32"], "auto", ["bf16", "f32"]),
        (["BF16", "FP32"], "f32", ["f32"]),
        (["BF16", "FP32"], "bf16", ["bf16"]),
    ],
)
def test_bf16_is_tried_only_where_the_device_reports_it(
    monkeypatch: pytest.MonkeyPatch, offered: list[str], wanted: str, expected: list[str]
) -> None:
    monkeypatch.setattr(openvino, "capabilities", lambda: offered)
    assert precisions(SPEC.model_copy(update={"options": {"precision": wanted}})) == expected


@pytest.mark.parametrize("wanted", ["bf16", "int8", 16, ["f32"]])
def test_a_precision_that_the_cpu_lacks_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: object) -> None:
    monkeypatch.setattr(openvino, "capabilities", lambda: ["FP32"])
    with pytest.raises(LoadFailed, match="precision"):
        precisions(SPEC.model_copy(update={"options": {"precision": wanted}}))


def test_a_model_without_stored_vectors_is_judged_by_its_float32_graph(folder: Path) -> None:
    backend = OpenVINOBackend.load(SPEC, folder, 1)
    assert backend.info["precision"] == precisions(SPEC)[0]
    backend.close()


LOAD = """
import sys
from pathlib import Path
from backends.bert.openvino import OpenVINOBackend
from configs.models import ModelSpec
backend = OpenVINOBackend.load(ModelSpec(name="m", family="bert"), Path(sys.argv[1]), 1)
print("precision", backend.info["precision"])
"""


def test_a_cpu_that_reports_bf16_and_cannot_compile_it_computes_in_float32(folder: Path) -> None:
    """A CPU of the AVX2 class, as oneDNN's own cap makes one: it goes on listing BF16."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-c", LOAD, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert "precision f32" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"model_type": "t5"}, "'t5'"),
        ({"hidden_act": "mish"}, "'mish'"),
        ({"hidden_size": 64}, "word_embeddings"),
        ({"vocab_size": 119}, "word_embeddings"),
        ({"max_position_embeddings": 65}, "position_embeddings"),
        ({"num_hidden_layers": 3}, "encoder.layer.2"),
        ({"intermediate_size": 65}, "intermediate"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder: Path, fields: dict[str, Any], word: str) -> None:
    change(folder / "config.json", **fields)
    with pytest.raises(LoadFailed, match=word) as caught:
        encode(folder)
    assert caught.value.code == "model_load_failed"


def test_weights_without_embeddings_are_named(folder: Path) -> None:
    header = b"{}"
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(LoadFailed, match="word_embeddings"):
        encode(folder)


def test_the_compiled_model_is_kept_and_used_again(folder: Path) -> None:
    first = encode(folder)
    (kept,) = (folder / FOLDER).glob("f32-*")
    names = {path.name for path in kept.iterdir()}
    assert WHOLE in names
    assert len(names) > 1
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert np.array_equal(encode(folder), first)
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before


def test_half_a_cache_is_thrown_away(folder: Path) -> None:
    """As a kill in the middle of writing leaves it: a file that is cut, and no mark."""
    first = encode(folder)
    (kept,) = (folder / FOLDER).glob("f32-*")
    (kept / WHOLE).unlink()
    for blob in kept.iterdir():
        content = blob.read_bytes()
        blob.unlink()
        blob.write_bytes(content[: len(content) // 2])
    assert np.array_equal(encode(folder), first)
    assert (kept / WHOLE).exists()


def test_other_weights_make_another_cache(folder: Path) -> None:
    encode(folder)
    (old,) = (folder / FOLDER).glob("f32-*")
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4:] = np.float32(9).tobytes()
    weights.write_bytes(content)
    encode(folder)
    (new,) = (folder / FOLDER).glob("f32-*")
    assert new != old


def test_a_folder_that_cannot_be_written_only_starts_slower(folder: Path) -> None:
    (folder / FOLDER).write_text("in the way")  # works as root too, whom no permission stops
    assert np.isfinite(encode(folder)).all()
    with cache_folder(folder, "f32", "name") as cache:
        assert cache is None


def test_two_that_start_together_both_get_the_model(folder: Path) -> None:
    """The spawned processes compile at once; the lock lets one write while the other waits."""
    expected = encode(folder)
    shutil.rmtree(folder / FOLDER)
    with get_context("spawn").Pool(2) as pool:
        found = pool.map(encode, [folder, folder])
    for vectors in found:
        np.testing.assert_array_equal(vectors, expected)


def test_every_fact_changes_the_name_of_a_cache() -> None:
    make: Callable[..., str] = identity
    assert make("a", 1) == make("a", 1)
    assert len({make("a", 1), make("a", 2), make("b", 1), make("a1")}) == 4
