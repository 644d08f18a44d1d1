"""The fast runtime of the bert family: our own graph, compiled by OpenVINO for this CPU.

bf16 where the device reports it (1.8x float32, cosine 0.9999) and can compile it, else float32. A CPU
of the AVX2 class may report it and fail at compile, so both are asked.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import openvino as ov
import structlog

from backends.bert.backend import BertBackend
from backends.bert.encoder import Encoder
from backends.bert.graph import build_graph
from backends.bert.graph_weights import Weights
from backends.bert.model_folder import BertModel
from backends.bert.selftest import Reference, computed_reference, stored_reference
from backends.bert.tokenizer import BertTokenizer
from backends.errors import LoadFailed
from backends.importers.safetensors import read_folder
from backends.openvino_graphs import capabilities, compile_graph
from configs.models import ModelSpec

log = structlog.get_logger(__name__)

Precision = Literal["bf16", "f32"]


class OpenVINOBackend(BertBackend):
    """Options of the spec: `precision`, "auto" (default), "bf16" or "f32".

    A call of 768 padded tokens takes about 0.1 s on one core of 2023; 512 and 1,024 were as fast within
    2 %, 8,192 slower by a tenth. Short texts need many rows to fill it: 128 texts of 6 tokens run at 2.3
    times the rate of one.
    """

    max_batch_tokens = 768
    max_rows = 64
    padded = True

    @classmethod
    def encoders(cls, model: BertModel, spec: ModelSpec, folder: Path, threads: int) -> Iterator[Encoder]:
        *faster, last = precisions(spec)
        for precision in faster:
            try:
                yield open_encoder(model, folder, threads, precision)
            except LoadFailed as error:  # a device may report what it cannot compile
                log.warning("encoder.refused", model=spec.name, precision=precision, reason=error.message)
        yield open_encoder(model, folder, threads, last)

    @classmethod
    def load_encoder(cls, model: BertModel, spec: ModelSpec, folder: Path, threads: int) -> Encoder:
        return open_encoder(model, folder, threads, precisions(spec)[0])

    @classmethod
    def reference(
        cls, model: BertModel, tokenizer: BertTokenizer, spec: ModelSpec, folder: Path, threads: int
    ) -> Reference | None:
        """The stored vectors, else those of the float32 graph when bf16 is to be judged."""
        stored = stored_reference(folder)
        if stored or precisions(spec)[0] == "f32":
            return stored
        return computed_reference(open_encoder(model, folder, threads, "f32"), model, tokenizer)


class OpenVINOEncoder:
    """A compiled graph with one infer request, which is used again for every batch."""

    def __init__(self, compiled: ov.CompiledModel, pad_id: int, precision: Precision) -> None:
        self.precision = precision
        self._request = compiled.create_infer_request()
        self._pad_id = pad_id

    def encode(self, batch: list[list[int]]) -> npt.NDArray[np.float32]:
        """See `Encoder`. The array is OpenVINO's own memory, which the next call overwrites."""
        ids, lengths = padded(batch, self._pad_id)
        self._request.infer([ids, lengths], share_inputs=True, share_outputs=True)
        return cast(npt.NDArray[np.float32], self._request.get_output_tensor(0).data)


def padded(batch: list[list[int]], pad_id: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of ids as int64 (rows, width) filled up with `pad_id`, and their lengths as int64 (rows)."""
    lengths = np.array([len(row) for row in batch], dtype=np.int64)
    ids = np.full((len(batch), int(lengths.max())), pad_id, dtype=np.int64)
    for line, row in zip(ids, batch, strict=True):
        line[: len(row)] = row
    return ids, lengths


def precisions(spec: ModelSpec) -> list[Precision]:
    """Precisions to try, the fastest first. Raises `LoadFailed` when the spec asks for another."""
    wanted = spec.options.get("precision") or "auto"
    offered: list[Precision] = ["bf16", "f32"] if "BF16" in capabilities() else ["f32"]
    if wanted == "auto":
        return offered
    if wanted not in offered:
        raise LoadFailed(
            f"options.precision of model '{spec.name}' is {wanted!r}; this CPU offers auto, {offered}",
            code="model_load_failed",
        )
    return [wanted]


def open_encoder(model: BertModel, folder: Path, threads: int, precision: Precision) -> OpenVINOEncoder:
    """Build and compile the graph of the model in `folder`. Raises `LoadFailed`."""
    graph = build_graph(model, Weights(read_folder(folder)))
    compiled = compile_graph(
        lambda: graph,
        folder,
        threads,
        name="model",
        kind=precision,
        precision=precision,
        hint=precision,
        facts=(model, _weights_files(folder), _graph_source()),
    )
    return OpenVINOEncoder(compiled, model.pad_id, precision)


def _weights_files(folder: Path) -> list[tuple[str, int, int]]:
    found = sorted(folder.glob("*.safetensors"))
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in found]


def _graph_source() -> list[bytes]:
    """The code that builds the graph: another version of ours may build another."""
    return [path.read_bytes() for path in sorted(Path(__file__).parent.glob("graph*.py"))]
