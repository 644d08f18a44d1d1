"""What a spec may say in each family: its runtimes, the options that they read, the defaults of its requests.

Plain tables, so that a spec can be judged where it is read, without a backend. `backends/registry.py` says
where the code of a runtime lies; a test holds the two against each other.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from configs.models import ModelFile
from configs.vad_file import VAD_FILE

CrashSignal = Literal["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGKILL"]


class Values(BaseModel):
    """Named values of a spec."""

    model_config = ConfigDict(extra="forbid", strict=True)


class EmbeddingDefaults(Values):
    """What may fill in fields that an embeddings request leaves out."""

    dimensions: int | None = Field(None, ge=1)
    input_type: str | None = None
    overlong: Literal["error", "truncate", "chunk_mean"] | None = None


class BertOptions(Values):
    """Options of the bert family. docs/bert.md lists the same; a test holds the two against each other."""

    pooling: Literal["mean", "cls", "max", "last"] | None = Field(
        None, description="how the tokens become one vector: mean, cls, max or last"
    )
    normalize: bool | None = Field(None, description="whether vectors have length 1")
    prefixes: dict[str, str] | None = Field(
        None, description="templates by the name that a request's input_type uses"
    )
    default_prefix: str | None = Field(
        None,
        description="the template that holds when a request names none; null: no template at all",
    )
    precision: Literal["auto", "bf16", "f32"] | None = Field(None, description="openvino: auto, bf16 or f32")
    gguf: str | None = Field(None, description="llamacpp: the file to use where the model has several")


class EchoOptions(Values):
    """Options of the echo family. docs/operations.md ("Testing without luck") lists the same; a test holds
    the two against each other."""

    dimensions: int = Field(8, ge=1, le=16_384, description="length of a vector")
    delay_ms: float = Field(
        0.0, ge=0, le=600_000, allow_inf_nan=False, description="what each part takes, as if computed"
    )
    # Faults, on the items of which any input contains the text.
    sleep_on: str | None = Field(None, min_length=1, description="items that take `sleep_ms` longer")
    sleep_ms: float = Field(1000.0, ge=0, le=600_000, allow_inf_nan=False, description="how long they sleep")
    crash_on: str | None = Field(None, min_length=1, description="items that end the engine by a signal")
    crash_signal: CrashSignal = Field("SIGSEGV", description="the signal")
    hang_on: str | None = Field(None, min_length=1, description="items that never end")
    leak_on: str | None = Field(None, min_length=1, description="items that leave `leak_mb` of memory behind")
    leak_mb: int = Field(64, ge=1, le=65_536, description="how much they leave")
    fail_on: str | None = Field(None, min_length=1, description="items that fail with `engine_error`")


class TranscriptionDefaults(Values):
    """What may fill in fields that a transcription request leaves out."""

    language: str | None = None
    prompt: str | None = None
    temperature: float | None = Field(None, ge=0, le=1)


class WhisperOptions(Values):
    """Options of the whisper family. docs/whisper.md lists the same; a test holds the two against each
    other."""

    languages: list[str] | None = Field(
        None, description="codes that the model knows, where that is to be checked before it is loaded"
    )
    window_seconds: float | None = Field(
        None, ge=5, le=29, description="longest stretch that is heard in one go; default: the runtime's own"
    )
    beam_size: int = Field(
        1, ge=1, le=10, description="1: greedy; 5: a point of word errors less, a third slower"
    )
    precision: Literal["auto", "int8", "bf16", "f32", "ctranslate2"] | None = Field(
        None, description="ctranslate2: the encoder's, on OpenVINO (auto, int8, …) or CTranslate2's own"
    )
    compute_type: Literal["int8", "float32"] = Field("int8", description="ctranslate2: the decoder's weights")
    ggml: str | None = Field(None, description="whispercpp: the file to use where the model has several")


@dataclass(frozen=True, kw_only=True)
class FamilyRules:
    """`runtimes` maps a name to how the name of a weights file ends of which it needs at least one ("": it
    has no weights of its own). `extra_files` come with every model of the family whose spec lists files and
    does not name them itself."""

    runtimes: dict[str, str]
    options: type[Values]
    defaults: type[Values]
    extra_files: tuple[ModelFile, ...] = ()


FAMILY_RULES: dict[str, FamilyRules] = {
    "bert": FamilyRules(
        runtimes={"openvino": ".safetensors", "llamacpp": ".gguf"},
        options=BertOptions,
        defaults=EmbeddingDefaults,
    ),
    "echo": FamilyRules(runtimes={"echo": ""}, options=EchoOptions, defaults=EmbeddingDefaults),
    "whisper": FamilyRules(
        runtimes={"ctranslate2": "model.bin", "whispercpp": "ggml.bin"},
        options=WhisperOptions,
        defaults=TranscriptionDefaults,
        extra_files=(VAD_FILE,),
    ),
}

# Importers (`backends/importers/`) of `import:` sources: the values that each of their options may have.
IMPORTERS: dict[str, dict[str, tuple[str, ...]]] = {
    "gguf": {"type": ("f16", "q8_0", "f32")},
    "whisper_ggml": {"type": ("f16", "q8_0")},  # whisper.cpp cannot compute with float32 files
}
