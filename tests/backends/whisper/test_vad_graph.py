"""A file that is not Silero's is refused when it is loaded, and says why."""

from pathlib import Path

import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.whisper.vad import Vad


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"has no silero_vad\.onnx"):
        Vad.load(tmp_path / "silero_vad.onnx", threads=1)


@pytest.mark.parametrize("kept", [0, 1000, 1_000_000])
def test_a_cut_file_is_refused(vad_file: Path, tmp_path: Path, kept: int) -> None:
    cut = tmp_path / "silero_vad.onnx"
    cut.write_bytes(vad_file.read_bytes()[:kept])
    with pytest.raises(LoadFailed, match=r"silero_vad\.onnx cannot be used"):
        Vad.load(cut, threads=1)


def test_another_transform_is_refused(vad_file: Path, tmp_path: Path) -> None:
    """It would be left out for a Fourier transform, and the detector would hear something else."""
    data = vad_file.read_bytes()
    rows = 129
    angles = 2 * np.pi / 256 * np.outer(np.arange(rows), np.arange(256))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    wanted = np.float32(np.cos(angles) * window)
    row = next(
        place
        for number in range(1, rows)
        if (place := data.find(wanted[number, 120:123].tobytes())) > 0  # bits differ in places
    )
    other = tmp_path / "silero_vad.onnx"
    other.write_bytes(data[:row] + np.float32([9, 9, 9]).tobytes() + data[row + 12 :])
    with pytest.raises(LoadFailed, match="not those of a Fourier transform"):
        Vad.load(other, threads=1)
