"""The models that the contract suite runs: one line of MODELS per runtime.

A maker writes (or finds) its files in the folder that it is given, and returns the spec. The model takes
MAX_TOKENS tokens, special ones included; `{"input": [[1, 2, 3]]}` must be valid ids for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backends.registry import FAMILIES
from configs.models import ModelFile, ModelSpec
from tests.fixtures.tiny_models import gguf_folder, model_folder

MAX_TOKENS = 64


@dataclass(frozen=True, kw_only=True)
class ContractModel:
    """`make` writes the model's files. `marks` are names of pytest marks ("bindings", "slow")."""

    family: str
    runtime: str
    make: Callable[[Path], ModelSpec]
    marks: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.family}-{self.runtime}"

    @property
    def installed(self) -> bool:
        return FAMILIES[self.family].runtimes[self.runtime].installed


def make_echo(folder: Path) -> ModelSpec:
    (folder / "weights.bin").write_bytes(b"echo")
    return ModelSpec(
        name="echo-contract",
        family="echo",
        files=(ModelFile(path="weights.bin", source="file:weights.bin"),),
        options={"dimensions": 16, "delay_ms": 2},
        limits={"max_tokens": MAX_TOKENS},
    )


def make_openvino(folder: Path) -> ModelSpec:
    """A random BERT, from its safetensors."""
    model_folder("bert", folder)
    names = ("config.json", "tokenizer.json", "model.safetensors")
    return ModelSpec(
        name="openvino-contract",
        family="bert",
        files=tuple(ModelFile(path=name, source=f"file:{name}") for name in names),
        limits={"max_tokens": MAX_TOKENS},
    )


def make_gguf(folder: Path) -> ModelSpec:
    """A random BERT, converted."""
    gguf_folder("bert", folder)
    names = ("config.json", "tokenizer.json", "model.gguf")
    return ModelSpec(
        name="gguf-contract",
        family="bert",
        files=tuple(ModelFile(path=name, source=f"file:{name}") for name in names),
        limits={"max_tokens": MAX_TOKENS},
    )


MODELS = (
    ContractModel(family="echo", runtime="echo", make=make_echo),
    ContractModel(family="bert", runtime="openvino", make=make_openvino),
    ContractModel(family="bert", runtime="llamacpp", make=make_gguf, marks=("bindings",)),
)
