"""The audio encoder: our graph on OpenVINO, or CTranslate2's own.

By default in int8, which takes four fifths of the time of bf16 and three fifths of that of float32, with an
error (0.03 in the mean) as that of CTranslate2 in int8. With AMX bf16 comes first, as it alone was measured
there.
"""

from pathlib import Path
from typing import Any, Protocol, cast

import ctranslate2
import numpy as np
import openvino as ov
import structlog
from numpy.typing import NDArray

from backends.builds import instruction_sets
from backends.errors import LoadFailed
from backends.whisper.compiled import Precision, compile_graph, offered_precisions
from backends.whisper.encoder_graph import build_encoder
from backends.whisper.weights import Array, Weights
from configs.models import ModelSpec

log = structlog.get_logger(__name__)


class Encoder(Protocol):
    """`precision` is what it computes in, for people."""

    precision: str

    def encode(self, mels: Array) -> Array:
        """float32 (windows, bands, frames), frames even, to (windows, frames / 2, hidden), a copy of its
        own."""


class OpenVINOEncoder:
    """A compiled graph with one infer request, which is used again for every call."""

    def __init__(self, compiled: ov.CompiledModel, precision: Precision) -> None:
        self.precision: str = precision
        self._request = compiled.create_infer_request()

    def encode(self, mels: Array) -> Array:
        """See `Encoder`."""
        self._request.infer([mels], share_inputs=True, share_outputs=True)
        return cast(Array, self._request.get_output_tensor(0).data.copy())


class CTranslate2Encoder:
    """CTranslate2's encoder, for where OpenVINO's is not wanted: in int8 it costs nearly twice as much."""

    precision = "ctranslate2"

    def __init__(self, model: ctranslate2.models.Whisper) -> None:
        self._model = model

    def encode(self, mels: Array) -> Array:
        """See `Encoder`."""
        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mels))
        states: NDArray[Any] = np.array(self._model.encode(features, to_cpu=True))
        return states.astype(np.float32, copy=False)


def open_encoder(
    spec: ModelSpec, weights: Weights, model: ctranslate2.models.Whisper, folder: Path, threads: int
) -> Encoder:
    """What the spec's `precision` asks for; by default the fastest that this machine computes.

    Raises `LoadFailed` when the spec asks for one that it does not compute.
    """
    wanted = spec.options.get("precision") or "auto"
    precisions = offered()
    if wanted == "ctranslate2":
        return CTranslate2Encoder(model)
    if wanted != "auto":
        if wanted not in precisions:
            raise LoadFailed(
                f"options.precision of model '{spec.name}' is {wanted!r}; this CPU offers {precisions}",
                code="model_load_failed",
            )
        return compile_encoder(weights, folder, threads, wanted)
    for precision in precisions:
        try:
            return compile_encoder(weights, folder, threads, precision)
        except LoadFailed as error:  # a device may report what it cannot compile
            log.warning("encoder.refused", model=spec.name, precision=precision, reason=error.message)
    return CTranslate2Encoder(model)


def offered() -> list[Precision]:
    """What this CPU computes, the fastest first."""
    others = offered_precisions()
    return [*others, "int8"] if "amx_bf16" in instruction_sets() else ["int8", *others]


def compile_encoder(weights: Weights, folder: Path, threads: int, precision: Precision) -> OpenVINOEncoder:
    """Build and compile the graph of the model in `folder`. Raises `LoadFailed`."""

    def build() -> ov.Model:
        return build_encoder(weights, int8=precision == "int8")

    return OpenVINOEncoder(compile_graph("encoder", build, weights, folder, threads, precision), precision)
