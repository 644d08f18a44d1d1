"""The table of families: which runtimes each has, and where their backends live. Lazy: nothing native
is imported before an engine asks for it."""

from dataclasses import dataclass
from importlib import import_module, util
from typing import cast

from backends.base import Backend
from backends.errors import LoadFailed


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One library that computes a family: `backend` is "module:Class", `package` what must be importable,
    `extra` the pip extra (or make target) that installs it, `native` the module that loads the library, where
    importing the package does not."""

    backend: str
    package: str | None = None
    extra: str | None = None
    native: str | None = None

    @property
    def installed(self) -> bool:
        return self.package is None or util.find_spec(self.package) is not None


@dataclass(frozen=True, kw_only=True)
class Family:
    """One backend family. `runtimes` are ranked: `auto` takes the first that is installed, has its files
    and passes its self-test."""

    endpoints: tuple[str, ...]
    runtimes: dict[str, Runtime]


FAMILIES: dict[str, Family] = {
    "bert": Family(
        endpoints=("/v1/embeddings",),
        runtimes={
            "openvino": Runtime(
                backend="backends.bert.openvino:OpenVINOBackend",
                package="openvino",
                extra="pip install 'batchyard[bert]'",
            ),
            "llamacpp": Runtime(
                backend="backends.bert.llamacpp:LlamaCppBackend", package="llama_cpp", extra="make bindings"
            ),
        },
    ),
    "echo": Family(
        endpoints=("/v1/embeddings",), runtimes={"echo": Runtime(backend="backends.echo:EchoBackend")}
    ),
    "whisper": Family(
        endpoints=("/v1/audio/transcriptions", "/v1/audio/translations"),
        runtimes={
            "ctranslate2": Runtime(
                backend="backends.whisper.ctranslate2:CTranslate2Backend",
                package="ctranslate2",
                extra="pip install 'batchyard[whisper]'",
            ),
            "whispercpp": Runtime(
                backend="backends.whisper.whispercpp:WhisperCppBackend",
                package="pywhispercpp",
                extra="pip install 'batchyard[whisper]'",
                native="_pywhispercpp",
            ),
        },
    ),
}


def family_of(name: str) -> Family:
    try:
        return FAMILIES[name]
    except KeyError:
        known = ", ".join(sorted(FAMILIES))
        raise LoadFailed(f"unknown family '{name}'; known are {known}", code="model_load_failed") from None


def runtimes_of(family: str, wanted: str = "auto") -> list[str]:
    """Names of the runtimes to try, best first, whether installed or not. `wanted` narrows them to one."""
    runtimes = family_of(family).runtimes
    if wanted == "auto":
        return list(runtimes)
    if wanted not in runtimes:
        known = ", ".join(runtimes)
        raise LoadFailed(
            f"family '{family}' has no runtime '{wanted}'; it has {known}", code="model_load_failed"
        )
    return [wanted]


def backend_class(family: str, runtime: str) -> type[Backend]:
    """Import the backend. Raises `LoadFailed` (binding_missing) that says what installs it."""
    entry = family_of(family).runtimes[runtimes_of(family, runtime)[0]]
    if not entry.installed:
        raise LoadFailed(
            f"runtime '{runtime}' of family '{family}' is not installed; install it with: {entry.extra}",
            code="binding_missing",
        )
    module, _, name = entry.backend.partition(":")
    return cast(type[Backend], getattr(import_module(module), name))
