"""A small model for tests that compute nothing real, and an encoder whose vectors tell of their rows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from backends.bert.backend import BertBackend
from backends.bert.encoder import Encoder
from backends.bert.model_folder import BertModel
from backends.bert.tokenizer import BertTokenizer
from configs.models import ModelSpec
from tests.fixtures.tiny_tokenizers import word_piece

VOCAB = 120
CLS, SEP = 2, 3
MODEL = BertModel(
    name="m",
    architecture="bert",
    hidden=4,
    layers=1,
    heads=1,
    intermediate=4,
    vocab_size=VOCAB,
    max_positions=32,
    max_tokens=32,
)


def tokenizer() -> BertTokenizer:
    return BertTokenizer(word_piece())


class CountingEncoder:
    """The vector of a row is (length, first id, last id, sum of ids). `calls` keeps the batches."""

    precision = "f32"

    def __init__(self, fault: Callable[[list[int]], object] = lambda row: None) -> None:
        """`fault` may raise for a row, or return the number that its vector holds instead."""
        self.calls: list[list[list[int]]] = []
        self._fault = fault

    def encode(self, batch: list[list[int]]) -> np.ndarray:
        self.calls.append(batch)
        out = np.array([[len(row), row[0], row[-1], sum(row)] for row in batch], dtype=np.float32)
        for line, row in zip(out, batch, strict=True):
            if (wrong := self._fault(row)) is not None:
                line[1] = wrong
        return out


class CountingBackend(BertBackend):
    max_batch_tokens = 64
    max_rows = 8

    @classmethod
    def load_encoder(cls, model: BertModel, spec: ModelSpec, folder: Path, threads: int) -> Encoder:
        return CountingEncoder()


def backend(encoder: CountingEncoder, **changes: object) -> CountingBackend:
    return CountingBackend(replace(MODEL, **changes), tokenizer(), encoder)  # type: ignore[arg-type]
