"""Rows of token ids to vectors on llama.cpp: packed end to end, many rows per native call.

Importing this module loads the native library (see `llamacpp_library`).
"""

import ctypes
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import llama_cpp.llama_cpp as native
import numpy as np
import numpy.typing as npt

from backends.bert.gguf_model import NATIVE_POOLING
from backends.bert.llamacpp_library import free_context, free_model, load_model, new_context
from backends.bert.model_folder import BertModel
from backends.errors import PartFailed

# What one native call holds, unless a single row is longer: about 0.1 s of compute. Attention is masked over
# the whole call, so that its cost grows with the square. Measured for f16 and q8_0 with texts of 50 tokens:
# 128 to 384 are alike, 512 is 6 % slower, 1024 15 %.
CALL_TOKENS = 256
CALL_ROWS = 64


class LlamaEncoder:
    """One model with one context. Not more than one thread is ever inside: llama.cpp crashes otherwise."""

    def __init__(self, path: Path, model: BertModel, *, precision: str, threads: int) -> None:
        self.precision = precision
        self._model = model
        # A row of the greatest length must fit, and llama.cpp aborts unless tokens divide by rows.
        self._tokens = -(-max(CALL_TOKENS, model.max_tokens) // CALL_ROWS) * CALL_ROWS
        self._lock = Lock()
        handle = load_model(path)
        weakref.finalize(self, free_model, handle)  # finalizers run last in, first out: context first
        pooling = NATIVE_POOLING[model.pooling]
        self._context = new_context(
            handle, tokens=self._tokens, rows=CALL_ROWS, pooling=pooling, threads=threads
        )
        weakref.finalize(self, free_context, self._context)
        self._pack = _Pack(self._tokens)

    def encode(self, batch: list[list[int]]) -> npt.NDArray[np.float32]:
        """See `Encoder`. Rows that do not fit one native call are computed in several.

        Raises `PartFailed` for a row that llama.cpp would abort on or cut short: empty, longer than the
        model takes, or with an id that is not in the vocabulary.
        """
        for row in batch:
            self._check(row)
        vectors = np.empty((len(batch), self._model.hidden), dtype=np.float32)
        with self._lock:
            for start, stop in self._calls(batch):
                self._compute(batch[start:stop], vectors[start:stop])
        if self._model.normalize:
            with np.errstate(invalid="ignore", divide="ignore"):  # what is not finite, the run loop reports
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _check(self, row: list[int]) -> None:
        model = self._model
        if not row:
            raise PartFailed("a row has no tokens", code="empty_input")
        if len(row) > model.max_tokens:
            raise PartFailed(
                f"a row has {len(row)} tokens; the model takes at most {model.max_tokens}",
                code="context_length_exceeded",
            )
        if min(row) < 0 or max(row) >= model.vocab_size:
            raise PartFailed(
                f"a row has a token id outside 0 to {model.vocab_size - 1}", code="invalid_token_id"
            )

    def _calls(self, batch: list[list[int]]) -> Iterator[tuple[int, int]]:
        """Slices of the batch, in order, of which each fits one native call."""
        start = tokens = 0
        for at, row in enumerate(batch):
            if at > start and (tokens + len(row) > CALL_TOKENS or at - start == CALL_ROWS):
                yield start, at
                start, tokens = at, 0
            tokens += len(row)
        if start < len(batch):
            yield start, len(batch)

    def _compute(self, rows: list[list[int]], out: npt.NDArray[np.float32]) -> None:
        status = native.llama_encode(self._context, self._pack.fill(rows))
        if status != 0:
            raise PartFailed(f"llama.cpp ended with status {status}", code="engine_error")
        for number, target in enumerate(out):
            vector = native.llama_get_embeddings_seq(self._context, number)
            if not vector:
                raise PartFailed("llama.cpp gave no vector", code="engine_error")
            target[:] = np.ctypeslib.as_array(vector, shape=target.shape)


class _Pack:
    """The arrays of a `llama_batch`, ours and used again for every call.

    Sequence ids ascend with the rows: handed out downwards they made llama.cpp slower (as measured).
    """

    def __init__(self, tokens: int) -> None:
        self._ids = np.zeros(tokens, dtype=np.int32)
        self._positions = np.zeros(tokens, dtype=np.int32)
        self._sequences = np.zeros(tokens, dtype=np.int32)
        # Each token belongs to one sequence, named by a pointer to its number; every token is an output.
        self._one = np.ones(tokens, dtype=np.int32)
        self._output = np.ones(tokens, dtype=np.int8)
        first, step = self._sequences.ctypes.data, self._sequences.itemsize
        self._pointers = np.arange(first, first + tokens * step, step, dtype=np.uintp)

    def fill(self, rows: list[list[int]]) -> native.llama_batch:
        """The batch of these rows. It points into this object and is void after the next call."""
        start = 0
        for number, row in enumerate(rows):
            stop = start + len(row)
            self._ids[start:stop] = row
            self._positions[start:stop] = np.arange(len(row))
            self._sequences[start:stop] = number
            start = stop
        return native.llama_batch(
            n_tokens=start,
            token=_pointer(self._ids, ctypes.c_int32),
            embd=None,
            pos=_pointer(self._positions, ctypes.c_int32),
            n_seq_id=_pointer(self._one, ctypes.c_int32),
            seq_id=_pointer(self._pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._output, ctypes.c_int8),
        )


def _pointer(array: npt.NDArray[np.generic], kind: type) -> "ctypes._Pointer[ctypes._CData]":
    return array.ctypes.data_as(ctypes.POINTER(kind))
