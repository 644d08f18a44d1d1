"""The echo family: the whole service without a model. Vectors come from a hash of the input.

Options of a spec: `configs/families.py`. Words, or ids, count as tokens.
"""

import hashlib
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backends import echo_faults
from backends.base import Backend, Feed
from backends.embeddings import (
    EmbeddingRequest,
    apply_dimensions,
    check_dimensions,
    parse_part,
    result_of,
)
from backends.errors import BackendError, InvalidBody, LoadFailed
from backends.spec_values import check_values
from backends.types import Done, ErrorInfo, Event, Failed, Lane, Part, Started, encode_result
from configs.families import FAMILY_RULES, EchoOptions
from configs.models import ModelSpec

AHEAD = 64  # parts in hand: enough that the pipe's round trip does not count (notes on the engine's pipe)

Tokens = list[str] | list[int]
Vector = NDArray[np.float32]


class EchoBackend(Backend):
    """Answers every part from its body alone; the same input gives the same vector everywhere."""

    def __init__(self, spec: ModelSpec, options: EchoOptions) -> None:
        self._spec = spec
        self._options = options
        self._faults = echo_faults.EchoFaults(spec, options)

    @classmethod
    def load(cls, spec: ModelSpec, folder: Path, threads: int) -> Self:
        for file in spec.files_for("echo"):
            if not (folder / file.path).is_file():
                raise LoadFailed(
                    f"model '{spec.name}': file '{file.path}' is missing", code="model_not_ready"
                )
        check_values(spec, FAMILY_RULES["echo"])
        return cls(spec, EchoOptions.model_validate(spec.options))

    @property
    def info(self) -> dict[str, Any]:
        return {
            "precision": "f32",
            "dimensions": self._options.dimensions,
            "max_tokens": self._spec.limits.max_tokens,
        }

    def run(self, feed: Feed) -> Iterator[Event]:
        interactive: deque[Part] = deque()
        bulk: deque[Part] = deque()
        while True:
            in_hand = len(interactive) + len(bulk)
            for part in feed.take(AHEAD - in_hand, wait=0.0 if in_hand else None):
                (interactive if part.lane is Lane.INTERACTIVE else bulk).append(part)
            if interactive or bulk:
                yield from self._compute_next(interactive or bulk, feed.cancelled())
            elif feed.closed:
                return

    def close(self) -> None:
        """Nothing to free."""

    def _compute_next(self, parts: deque[Part], cancelled: frozenset[int]) -> Iterator[Event]:
        """One simulated native call: a single part if it takes time, else all that are in hand."""
        delay = self._options.delay_ms / 1000
        taken = [parts.popleft() for _ in range(1 if delay else len(parts))]
        batch = [part for part in taken if part.key not in cancelled]
        if not batch:
            return
        yield Started([part.key for part in batch])
        if delay:
            time.sleep(delay)
        failing = self._faults.strike(batch)
        for part in batch:
            yield self._fail(part) if part.key in failing else self._answer(part)

    def _fail(self, part: Part) -> Failed:
        error = echo_faults.failure()
        return Failed(part.key, ErrorInfo(error.code, error.message))

    def _answer(self, part: Part) -> Event:
        try:
            spec = self._spec
            request = parse_part(
                part.body, model=spec.name, max_inputs=spec.limits.max_inputs, defaults=spec.defaults
            )
            return self._embed(part.key, request)
        except BackendError as error:
            return Failed(part.key, ErrorInfo(error.code, error.message, error.param))

    def _embed(self, key: int, request: EmbeddingRequest) -> Done:
        check_dimensions(request.dimensions, self._options.dimensions)
        if request.input_type is not None:
            raise InvalidBody("this model has no prefixes", code="invalid_value", param="input_type")
        numbered = enumerate(map(_tokens_of, request.inputs), request.first)
        inputs = [self._fit(number, tokens, request.overlong) for number, tokens in numbered]
        rows = np.stack([_mean_vector(chunks, self._options.dimensions) for chunks in inputs])
        tokens = sum(len(chunk) for chunks in inputs for chunk in chunks)
        vectors = apply_dimensions(rows, request.dimensions)
        return Done(key, encode_result(result_of(tokens, vectors)), units=tokens)

    def _fit(self, number: int, tokens: Tokens, overlong: str) -> list[Tokens]:
        """The input as chunks that the model's limit allows: one, but for `chunk_mean`."""
        limit = self._spec.limits.max_tokens
        if limit is None or len(tokens) <= limit:
            return [tokens]
        if overlong == "truncate":
            return [tokens[:limit]]
        if overlong == "chunk_mean":
            return [tokens[start : start + limit] for start in range(0, len(tokens), limit)]
        message = f"input {number} has {len(tokens)} tokens; the model takes at most {limit}"
        raise InvalidBody(message, code="context_length_exceeded", param="input")


def _tokens_of(item: str | list[int]) -> Tokens:
    return item.split() if isinstance(item, str) else item


def _mean_vector(chunks: list[Tokens], dimensions: int) -> Vector:
    if len(chunks) == 1:
        return _vector(chunks[0], dimensions)
    mean = np.mean([_vector(chunk, dimensions) for chunk in chunks], axis=0, dtype=np.float32)
    length = np.linalg.norm(mean)
    return np.asarray(mean / length if length > 0 else mean, dtype=np.float32)


def _vector(tokens: Tokens, dimensions: int) -> Vector:
    """A unit vector that depends on the tokens alone: SHAKE-128 of them, read as signed numbers."""
    text = "\x1f".join(map(str, tokens))
    digest = hashlib.shake_128(text.encode()).digest(4 * dimensions)
    numbers = np.frombuffer(digest, dtype="<i4").astype(np.float32)
    length = np.linalg.norm(numbers)
    return np.asarray(numbers / length if length > 0 else numbers, dtype=np.float32)
