"""Reading CTranslate2's model files: what is in them, and what is said about broken ones."""

import struct
from pathlib import Path

import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.importers.ctranslate2 import Ct2Model, read_model
from tests.fixtures.ctranslate2_files import ctranslate2_file


def read(folder: Path, data: bytes) -> Ct2Model:
    (folder / "model.bin").write_bytes(data)
    return read_model(folder / "model.bin")


WEIGHTS = {
    "encoder/num_heads": np.array(6, dtype=np.int16),
    "a/weight": np.arange(6, dtype=np.float16).reshape(2, 3),
    "b/bias": np.array([1.5, -2.0], dtype=np.float32),
}


def test_tensors_come_out_as_stored_and_aliases_share_them(tmp_path: Path) -> None:
    model = read(tmp_path, ctranslate2_file(WEIGHTS, {"c/weight": "a/weight"}))

    assert list(model.tensors) == [*WEIGHTS, "c/weight"]
    for name, values in WEIGHTS.items():
        assert model.tensors[name].dtype == values.dtype
        np.testing.assert_array_equal(model.tensors[name], values)
    assert model.tensors["c/weight"] is model.tensors["a/weight"]


def test_bfloat16_comes_out_as_float32(tmp_path: Path) -> None:
    exact = np.array([[1.0, -0.5], [3.0, 0.25]], dtype=np.float32)

    model = read(tmp_path, ctranslate2_file({"a": (exact.view(np.uint32) >> 16).astype(np.uint16)}))

    assert model.tensors["a"].dtype == np.float32
    np.testing.assert_array_equal(model.tensors["a"], exact)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (ctranslate2_file(WEIGHTS, version=5), "binary version 5; 6 is read"),
        (ctranslate2_file(WEIGHTS, spec="TransformerSpec"), "a TransformerSpec of revision 3"),
        (ctranslate2_file(WEIGHTS, revision=2), "a WhisperSpec of revision 2"),
        (ctranslate2_file(WEIGHTS, {"c": "nothing"}), "stands for 'nothing'"),
        (b"not a model at all", "binary version"),
        (b"\6\0\0\0" + b"\xff" * 9, "the file ends"),
        (b"", "empty"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(LoadFailed, match=said) as caught:
        read(tmp_path, data)

    assert caught.value.code == "model_load_failed"
    assert "model.bin cannot be read" in caught.value.message


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = ctranslate2_file(WEIGHTS, {"c/weight": "a/weight"})

    for length in range(len(data)):
        with pytest.raises(LoadFailed, match=r"model.bin cannot be read"):
            read(tmp_path, data[:length])


def test_a_tensor_that_says_another_size_or_type_is_refused(tmp_path: Path) -> None:
    whole = ctranslate2_file({"a": np.ones(4, np.float32)})
    kind = whole.index(struct.pack("<BI", 0, 16))

    for wrong, said in (((0, 15), "has 15 bytes"), ((9, 16), "type 9")):
        with pytest.raises(LoadFailed, match=said):
            read(tmp_path, whole[:kind] + struct.pack("<BI", *wrong) + whole[kind + 5 :])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"has no model\.bin"):
        read_model(tmp_path / "model.bin")
