"""Voice activity detection: how probable speech is in every 32 ms of a recording.

Silero VAD at 16 kHz sees frames of 512 samples, each with the 64 samples before it and, mirrored, the last 64
of itself; an LSTM goes from frame to frame. Here it takes less than a third of the time that ONNX Runtime
needs, for the same output: frames are convolved together, and their spectra are fast Fourier transforms.
"""

from pathlib import Path
from typing import Self

import numpy as np
import openvino as ov
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from backends.errors import LoadFailed
from backends.whisper.vad_graph import SPECTRUM, STATE, WINDOW, build_graph
from backends.whisper.window import Samples

FRAME = 512  # samples
BEFORE = MIRRORED = 64
HOP = 128  # from one spectrum of a frame to the next
BLOCK = 512  # frames per call: 16 s. With fewer a call costs more than it computes, more bring nothing


class Vad:
    """The detector, loaded. It serves one call at a time."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self._frames = np.empty((BLOCK, BEFORE + FRAME + MIRRORED), np.float32)

    @classmethod
    def load(cls, path: Path, threads: int) -> Self:
        """Load Silero's ONNX file (`configs/vad_file.py`). Raises `LoadFailed`."""
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # the process is pinned from outside
        }
        graph = build_graph(path)
        try:
            return cls(ov.Core().compile_model(graph, "CPU", settings))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            message = f"OpenVINO cannot compile {path.name}: {reason}"
            raise LoadFailed(message, code="model_load_failed") from None

    def probabilities(self, samples: Samples) -> NDArray[np.float32]:
        """One per 512 samples of a recording's stretch, of which the last may be incomplete. 150 s take
        0.08 s on one core of 2023."""
        count = -(-len(samples) // FRAME)
        padded = np.zeros(BEFORE + count * FRAME, np.float32)
        padded[BEFORE : BEFORE + len(samples)] = samples
        found = np.empty(count, np.float32)
        hidden, cell = np.zeros(STATE, np.float32), np.zeros(STATE, np.float32)
        for start in range(0, count, BLOCK):
            stop = min(start + BLOCK, count)
            block = padded[start * FRAME : stop * FRAME + BEFORE]
            outputs = self._request.infer([self._magnitudes(block), hidden, cell])
            found[start:stop] = outputs[0].ravel()
            hidden, cell = outputs[1], outputs[2]
        return found

    def _magnitudes(self, block: Samples) -> NDArray[np.float32]:
        """Of whole frames with the samples before them: (frames, 4, 129), the spectra's absolute values."""
        seen = sliding_window_view(block, BEFORE + FRAME)[::FRAME]
        frames = self._frames[: len(seen)]
        frames[:, :-MIRRORED] = seen
        frames[:, -MIRRORED:] = seen[:, -2 : -2 - MIRRORED : -1]  # the very last sample is not repeated
        spectra = np.fft.rfft(sliding_window_view(frames, SPECTRUM, axis=1)[:, ::HOP] * WINDOW)
        return np.sqrt(spectra.real**2 + spectra.imag**2)

    def close(self) -> None:
        """Free what was loaded."""
        del self._request
