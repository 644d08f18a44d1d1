"""Silero VAD as an OpenVINO graph: the ONNX file of its wheel, without the Fourier transform at its start.

The file spells the transform as a convolution with 258 filters (cosines and sines under a Hann window), which
is a third of the whole cost. `backends/whisper/vad.py` does it as a fast Fourier transform.
"""

from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset15 as ops

from backends.errors import LoadFailed

COLUMNS = 4  # spectra per frame
SPECTRUM = 256  # samples that one is of
BINS = SPECTRUM // 2 + 1
STATE = (1, 1, 128)  # of its LSTM: the hidden one and the cell's have the same shape
# Hann's window as a period, which is what a spectrum is taken under.
WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SPECTRUM) / SPECTRUM)).astype(np.float32)
CLOSE = 1e-5  # by how much the file's filters may differ from the transform


def build_graph(path: Path) -> ov.Model:
    """Inputs `magnitudes` float32 (frames, 4, 129) and the states `h` and `c` (1, 1, 128); outputs the
    frames' probabilities and both states after the last frame.

    Raises `LoadFailed` when the file is missing or is another model.
    """
    if not path.is_file():
        raise LoadFailed(f"the model's folder has no {path.name}", code="model_load_failed")
    try:
        model = ov.Core().read_model(path)
    except RuntimeError as error:
        raise _refused(path, str(error).strip().splitlines()[-1]) from None
    inputs = {node.get_friendly_name(): node for node in model.get_parameters()}
    ends = [node for node in model.get_ops() if node.get_type_name() == "Sqrt"]
    if set(inputs) != {"input", "h", "c"} or len(model.outputs) != 3 or len(ends) != 1:
        raise _refused(path, "it is not Silero VAD in the form that takes a sequence")
    _check_filters(path, model)
    magnitudes = ops.parameter([-1, COLUMNS, BINS], np.float32, name="magnitudes")
    turned = ops.transpose(magnitudes, ops.constant(np.array([0, 2, 1], np.int64)))
    ends[0].output(0).replace(turned.output(0))
    return ov.Model(model.get_results(), [magnitudes, inputs["h"], inputs["c"]], "silero vad")


def _check_filters(path: Path, model: ov.Model) -> None:
    """That the transform which is left out is the one that we do."""
    angles = 2 * np.pi / SPECTRUM * np.outer(np.arange(BINS), np.arange(SPECTRUM))
    wanted = np.concatenate([np.cos(angles), -np.sin(angles)]) * WINDOW
    shape = (2 * BINS, 1, SPECTRUM)
    constants = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
    filters = [node.data for node in constants if tuple(node.get_output_shape(0)) == shape]
    if len(filters) != 1 or np.abs(filters[0][:, 0] - wanted).max() > CLOSE:
        raise _refused(path, "its filters are not those of a Fourier transform under Hann's window")


def _refused(path: Path, reason: str) -> LoadFailed:
    return LoadFailed(f"{path.name} cannot be used: {reason}", code="model_load_failed")
