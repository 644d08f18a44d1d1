"""Embedding requests for the contract suite."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backends.types import EmbeddingResult, Lane, Part, Result
from tests.backends.contract_asks import senseless_body
from tests.backends.engine_driver import ENDPOINT

MAX_TOKENS = 64  # that a contract model takes per input, special ones included
INPUTS = [1, 2, 7, 1, 30, 1]  # per request
TEXT = "a slot keeps its engine loaded and feeds it with the parts of a job as they come"


def text(seed: int, words: int = 12) -> str:
    return " ".join(random.Random(seed).choices(TEXT.split(), k=words))


def vectors(embedding: Result) -> np.ndarray:
    assert isinstance(embedding, EmbeddingResult)
    return np.frombuffer(embedding.vectors, dtype="<f4").reshape(-1, embedding.dimensions)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


class EmbeddingAsks:
    """`{"input": [[1, 2, 3]]}` must be valid ids for the model."""

    several, many = 90, 300
    _bad: Mapping[str, tuple[dict[str, Any] | bytes, str | None]] = {
        "invalid_json": (b'{"input": NaN}', None),
        "empty_input": ({"input": ["fine", ""]}, "input"),
        "invalid_type": ({"input": ["fine", 3]}, "input"),
        "invalid_request": ({"input": "fine", "temperature": 1}, "temperature"),
        "context_length_exceeded": ({"input": ["fine", f"{TEXT} " * MAX_TOKENS]}, "input"),
        "invalid_dimensions": ({"input": "fine", "dimensions": 100_000}, "dimensions"),
        "invalid_token_id": ({"input": [2**31]}, "input"),
        "invalid_value": ({"input": "fine", "input_type": "no such prefix"}, "input_type"),
    }
    codes: Mapping[str, str | None] = {code: param for code, (_, param) in _bad.items()}

    def __init__(self, folder: Path) -> None:
        """Embeddings need no files."""

    def valid(self, key: int, *, seed: int, lane: Lane = Lane.BULK) -> Part:
        inputs = [text(seed + number) for number in range(INPUTS[seed % len(INPUTS)])]
        return self._part(key, {"input": inputs}, lane)

    def heavy(self, key: int, *, seed: int) -> Part:
        return self._part(key, {"input": [text(seed + number, words=20) for number in range(16)]})

    def bad(self, key: int, code: str) -> Part:
        return self._part(key, self._bad[code][0])

    def senseless(self, key: int, dice: random.Random) -> Part:
        whole = {"input": text(dice.randrange(1000)), "dimensions": 4}
        fields = ["input", "model", "dimensions", "encoding_format", "overlong", "user", "x"]
        return self._part(key, senseless_body(dice, whole, fields))

    def is_right(self, seed: int, result: Result) -> bool:
        return len(vectors(result)) == INPUTS[seed % len(INPUTS)]

    def same(self, one: Result, other: Result) -> bool:
        left, right = vectors(one), vectors(other)
        return left.shape == right.shape and min(map(cosine, left, right)) > 0.9995

    def _part(self, key: int, body: dict[str, Any] | bytes, lane: Lane = Lane.BULK) -> Part:
        return Part(key, ENDPOINT, json.dumps(body).encode() if isinstance(body, dict) else body, lane)
