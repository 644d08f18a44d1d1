"""The models that the contract suite runs: one line of MODELS per runtime.

A maker writes (or finds) its files in the folder that it is given, and returns the spec. A model for
embeddings takes MAX_TOKENS tokens, special ones included; `{"input": [[1, 2, 3]]}` must be valid ids for it.
One for transcriptions says the sentence of `tests/fixtures/tiny_whisper.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backends.importers import whisper_ggml
from backends.registry import FAMILIES
from backends.weights.pull import pull
from configs.models import ModelFile, ModelSpec
from configs.settings import Settings
from configs.vad_file import VAD_FILE
from tests.backends.contract_asks import Asks
from tests.backends.embedding_asks import MAX_TOKENS, EmbeddingAsks
from tests.backends.transcription_asks import TranscriptionAsks
from tests.fixtures.tiny_models import gguf_folder, model_folder
from tests.fixtures.tiny_whisper import with_detector, write_tiny_whisper
from tests.fixtures.whisper_tiny_en import whisper_spec


@dataclass(frozen=True, kw_only=True)
class ContractModel:
    """`make` writes the model's files; `asks`, given a folder for files of its own, is what it is asked.
    `marks` are names of pytest marks ("bindings", "slow")."""

    family: str
    runtime: str
    make: Callable[[Path], ModelSpec]
    asks: Callable[[Path], Asks] = EmbeddingAsks
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


def make_ctranslate2(folder: Path) -> ModelSpec:
    return with_detector(write_tiny_whisper(folder), folder, _detector())


def make_ggml(folder: Path) -> ModelSpec:
    """The same, converted."""
    spec = make_ctranslate2(folder)
    whisper_ggml.convert(folder, folder / "tiny-ggml.bin")
    ggml = ModelFile(path="tiny-ggml.bin", source="file:tiny-ggml.bin")
    return spec.model_copy(update={"files": (ggml, *spec.files)})


def _detector() -> Path:
    """The real voice activity detector: it comes with the first real model that is pulled."""
    return pull(whisper_spec(), Settings(), runtimes=["ctranslate2"]) / VAD_FILE.path


MODELS = (
    ContractModel(family="echo", runtime="echo", make=make_echo),
    ContractModel(family="bert", runtime="openvino", make=make_openvino),
    ContractModel(family="bert", runtime="llamacpp", make=make_gguf, marks=("bindings",)),
    ContractModel(family="whisper", runtime="ctranslate2", make=make_ctranslate2, asks=TranscriptionAsks),
    ContractModel(family="whisper", runtime="whispercpp", make=make_ggml, asks=TranscriptionAsks),
)
