"""The model's folder for the benchmarks: pulled, with the GGUF files that the peers need."""

from pathlib import Path

from backends.importers.gguf import convert
from backends.weights.pull import pull
from configs.settings import Settings
from configs.spec_files import load_catalogue

MODEL = "all-minilm-l6-v2"


def ready_model(cache: Path) -> Path:
    """The folder with every file; its own copy, so that a user's models get nothing added."""
    settings = Settings(models=cache / "models", home=cache)
    spec = load_catalogue(settings).specs[MODEL]
    folder = pull(spec, settings, runtimes=["openvino", "llamacpp"])
    target = folder / "model-q8_0.gguf"
    if not target.exists():
        convert(folder, target, type="q8_0")
    return folder
