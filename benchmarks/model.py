"""The models' folders for the benchmarks: pulled, with the files that the peers need."""

from pathlib import Path

from backends.importers.gguf import convert
from backends.weights.pull import pull
from configs.settings import Settings
from configs.spec_files import load_catalogue

MODEL, WHISPER = "all-minilm-l6-v2", "whisper-tiny.en"


def ready_model(cache: Path) -> Path:
    """The folder with every file; its own copy, so that a user's models get nothing added."""
    settings = Settings(models=cache / "models", home=cache)
    spec = load_catalogue(settings).specs[MODEL]
    folder = pull(spec, settings, runtimes=["openvino", "llamacpp"])
    target = folder / "model-q8_0.gguf"
    if not target.exists():
        convert(folder, target, type="q8_0")
    return folder


def ready_whisper(cache: Path) -> Path:
    """The folder of the model that transcribes, with the files of both runtimes."""
    settings = Settings(models=cache / "models", home=cache)
    return pull(load_catalogue(settings).specs[WHISPER], settings, runtimes=["ctranslate2", "whispercpp"])
