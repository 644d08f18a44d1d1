"""The options that a spec of the bert family may have. docs/bert.md lists the same; a test holds the two
against each other."""

from backends.errors import LoadFailed
from configs.models import ModelSpec

OPTIONS = {
    "pooling": "how the tokens become one vector: mean, cls, max or last",
    "normalize": "whether vectors have length 1",
    "prefixes": "templates by the name that a request's input_type uses",
    "default_prefix": "the template that holds when a request names none",
    "precision": "openvino: auto, bf16 or f32",
    "gguf": "llamacpp: the file to use where the model has several",
}


def check_options(spec: ModelSpec) -> None:
    """Raise `LoadFailed` for an option that nothing reads: misspelt, it would change the vectors silently."""
    unknown = sorted(spec.options.keys() - OPTIONS.keys())
    if unknown:
        known = ", ".join(OPTIONS)
        raise LoadFailed(
            f"model '{spec.name}' has the unknown option '{unknown[0]}'; the bert family has {known}",
            code="model_load_failed",
        )
