"""Graphs of ours, compiled by OpenVINO for this CPU: what all families that build some have in common."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import openvino as ov

from backends.compiled_cache import cache_folder, identity
from backends.errors import LoadFailed

NO_OTHERS: Mapping[str, Any] = MappingProxyType({})


def capabilities() -> list[str]:
    """What OpenVINO's CPU device says it can do on this machine."""
    return cast(list[str], ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def compile_graph(
    build: Callable[[], ov.Model],
    folder: Path,
    threads: int,
    *,
    name: str,
    kind: str,
    precision: str,
    hint: str,
    facts: tuple[object, ...],
    others: Mapping[str, Any] = NO_OTHERS,
) -> ov.CompiledModel:
    """Build and compile the graph `name` of the model in `folder`, or take it from there if it was compiled
    before.

    `kind` names its place there, `facts` are what it depends on beside OpenVINO and this CPU, `hint` and
    `others` settings of OpenVINO. Raises `LoadFailed`.
    """
    core = ov.Core()
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # the process is pinned from outside
        **others,
    }
    cpu = core.get_property("CPU", "FULL_DEVICE_NAME"), capabilities()
    try:
        with cache_folder(folder, f"{kind}-{threads}", identity(*facts, version("openvino"), cpu)) as cache:
            if cache:
                settings["CACHE_DIR"] = str(cache)
            return core.compile_model(build(), "CPU", settings)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        message = f"OpenVINO cannot compile the {name} in {precision}: {reason}"
        raise LoadFailed(message, code="model_load_failed") from None
