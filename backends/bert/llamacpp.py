"""The compatible runtime of the bert family: any BERT-like GGUF file, on any CPU, over llama.cpp.

Known difference: RoBERTa and its kin give a padding token inside a text ("<pad>") no position of its own;
llama.cpp counts it like any other.

The native library is imported when a model is loaded, after `backends.builds` has found that its build
suits this CPU.
"""

from dataclasses import replace
from pathlib import Path

from backends import builds
from backends.bert import numpy_graph
from backends.bert.backend import BertBackend
from backends.bert.encoder import Encoder
from backends.bert.gguf_model import open_model_file, precision, read_model
from backends.bert.model_folder import BertModel
from backends.bert.overlong import shorten
from backends.bert.selftest import Reference, stored_reference
from backends.bert.selftest_texts import TEXTS
from backends.bert.tokenizer import BertTokenizer
from configs.models import ModelSpec

MODULE = "llama_cpp"
FLOATS = ("f32", "f16", "bf16")
# A quantised file computes with 8-bit activations. Against float32 arithmetic on its own weights it must
# still be this close; a build that is broken is far below.
QUANTISED_COSINE = 0.99
# Multiply-adds that the numpy yardstick may cost at load: about a second.
REFERENCE_WORK = 5e10


class LlamaCppBackend(BertBackend):
    """Options of the spec: `gguf`, the file to use where a model has several."""

    max_batch_tokens = 256  # CALL_TOKENS and CALL_ROWS of the encoder, which this module cannot import
    max_rows = 64
    padded = False

    @classmethod
    def read_model(cls, spec: ModelSpec, folder: Path) -> BertModel:
        return read_model(spec, folder)

    @classmethod
    def open_tokenizer(cls, spec: ModelSpec, folder: Path) -> BertTokenizer:
        """The model's own tokenizer. A GGUF file that lies alone is tokenized by llama.cpp, which is
        less exact: English is the same, of 23 hard texts four differ (see `llamacpp_tokenizer`)."""
        if (folder / "tokenizer.json").exists():
            return super().open_tokenizer(spec, folder)
        builds.require(MODULE)
        from backends.bert.llamacpp_tokenizer import LlamaTokenizer

        return LlamaTokenizer(open_model_file(spec, folder).path)

    @classmethod
    def reference(
        cls, model: BertModel, tokenizer: BertTokenizer, spec: ModelSpec, folder: Path, threads: int
    ) -> Reference | None:
        """The stored vectors; where there are none, or the file is quantised, those of the same weights
        in numpy. Graphs other than `bert` have no such yardstick."""
        file = open_model_file(spec, folder)
        exact = precision(file) in FLOATS
        stored = stored_reference(folder) if exact else None
        if stored or model.pooling == "max" or file.text("general.architecture") != numpy_graph.ARCHITECTURE:
            return stored
        texts = [text for text in TEXTS if len(text) <= 120] if _is_large(model) else list(TEXTS)
        rows = [shorten(ids, model.max_tokens, tokenizer) for ids in tokenizer.encode(texts)]
        reference = Reference(texts=texts, vectors=numpy_graph.embed(file, model, rows))
        return reference if exact else replace(reference, min_cosine=QUANTISED_COSINE)

    @classmethod
    def load_encoder(cls, model: BertModel, spec: ModelSpec, folder: Path, threads: int) -> Encoder:
        builds.require(MODULE)
        from backends.bert.llamacpp_encoder import LlamaEncoder

        file = open_model_file(spec, folder)
        return LlamaEncoder(file.path, model, precision=precision(file), threads=threads)


def _is_large(model: BertModel) -> bool:
    """Whether all our texts, some 400 tokens, would cost the yardstick too much."""
    per_token = model.layers * (4 * model.hidden**2 + 2 * model.hidden * model.intermediate)
    return 400 * per_token > REFERENCE_WORK
