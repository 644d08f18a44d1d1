"""The compatible runtime of the whisper family: any model in ggml form, on any CPU."""

from pathlib import Path

from backends.errors import LoadFailed
from backends.whisper.backend import WhisperBackend
from backends.whisper.ggml_file import read_ggml
from backends.whisper.recognizer import Recognizer
from configs.families import FAMILY_RULES
from configs.models import ModelSpec


class WhisperCppBackend(WhisperBackend):
    """Options of the spec: `ggml`, the file to use where a model has several; `beam_size`."""

    runtime = "whispercpp"

    @classmethod
    def open_recognizer(cls, spec: ModelSpec, folder: Path, threads: int) -> Recognizer:
        """See `WhisperBackend`."""
        path = _model_file(spec, folder)
        file = read_ggml(path)  # the native library ends the process on a file that is none
        from backends.whisper.whispercpp_library import load_model
        from backends.whisper.whispercpp_recognizer import WhisperCppRecognizer

        beam_size = spec.options.get("beam_size") or 1
        return WhisperCppRecognizer(load_model(path, file.sizes), file, beam_size=beam_size, threads=threads)


def _model_file(spec: ModelSpec, folder: Path) -> Path:
    """The file that `options.ggml` names, else the first ggml file of the spec, else the only one in the
    folder. Raises `LoadFailed`."""
    ending = FAMILY_RULES["whisper"].runtimes[WhisperCppBackend.runtime]
    named = spec.options.get("ggml")
    listed = [named] if named else [file.path for file in spec.files if file.path.endswith(ending)]
    paths = [folder / str(name) for name in listed]
    if not paths and len(found := sorted(folder.glob(f"*{ending}"))) == 1:
        paths = found
    if not paths:
        raise LoadFailed(
            f"model '{spec.name}' has no file for the whispercpp runtime (*{ending})",
            code="model_load_failed",
        )
    return paths[0]
