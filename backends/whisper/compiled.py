"""Graphs of ours, compiled by OpenVINO for this CPU.

bf16 where the device reports it (1.8 times float32), else float32. A CPU of the AVX2 class may report it and
fail at compile, so both are to be tried. `int8` is for graphs whose weights are int8: their products are
computed in int8 as well, all else in the fastest of the others.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import openvino as ov

from backends import openvino_graphs
from backends.whisper.weights import FILE, Weights

Precision = Literal["int8", "bf16", "f32"]


def offered_precisions() -> list[Precision]:
    """Those that this CPU reports, the fastest first."""
    return ["bf16", "f32"] if "BF16" in openvino_graphs.capabilities() else ["f32"]


def compile_graph(
    name: str,
    build: Callable[[], ov.Model],
    weights: Weights,
    folder: Path,
    threads: int,
    precision: Precision,
) -> ov.CompiledModel:
    """Build and compile the graph `name` of the model in `folder`, or take it from there if it was compiled
    before. Raises `LoadFailed`."""
    # Kernels that are kept for shapes seen before: 5,000 by default, of which each call adds some.
    others: dict[str, Any] = {"CPU_RUNTIME_CACHE_CAPACITY": "32"}
    if precision == "int8":  # so many of a row's numbers share a scale; more than a row has would be ignored
        others["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = weights.shape.hidden
    return openvino_graphs.compile_graph(
        build,
        folder,
        threads,
        name=name,
        kind=f"{name}-{precision}",
        precision=precision,
        hint=offered_precisions()[0] if precision == "int8" else precision,
        facts=(weights.shape, _weights_file(folder), _graph_sources()),
        others=others,
    )


def _weights_file(folder: Path) -> tuple[int, int]:
    status = (folder / FILE).stat()
    return status.st_size, status.st_mtime_ns


def _graph_sources() -> list[bytes]:
    """The code that builds the graphs: another version of ours may build others."""
    return [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*_graph.py"))]
