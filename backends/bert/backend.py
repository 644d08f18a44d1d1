"""The run loop of the bert family: parts in, vectors out, over any encoder.

A runtime is a subclass that says how to load its encoder and how large its batches are. All the rest is
here: checking bodies, packing rows across parts, letting interactive parts overtake, computing equal rows
once, failing one part without the others.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import structlog

from backends.base import Backend, Feed
from backends.bert.desk import Desk
from backends.bert.encoder import Encoder, Vectors
from backends.bert.memo import Memo, key_of
from backends.bert.model_folder import BertModel, read_model_folder
from backends.bert.packing import Batch, Budget
from backends.bert.prepare import finish, prepare
from backends.bert.selftest import Reference, passes, stored_reference
from backends.bert.tokenizer import BertTokenizer
from backends.bert.work import Work
from backends.embeddings import result_of
from backends.errors import InvalidBody, LoadFailed
from backends.spec_values import check_values
from backends.types import (
    Done,
    ErrorInfo,
    Event,
    Failed,
    Lane,
    Part,
    Progress,
    Started,
    encode_result,
)
from configs.families import FAMILY_RULES
from configs.models import ModelSpec

log = structlog.get_logger(__name__)
NOT_FINITE = ErrorInfo("non_finite_output", "the model gave a vector that is not finite")


class BertBackend(Backend):
    """A model of the bert family. Subclasses set the batch shape and load encoders."""

    max_batch_tokens: ClassVar[int] = 1024
    max_rows: ClassVar[int] = 8
    # Of a bulk batch while somebody is expected to ask: with all-MiniLM-L6-v2 a native call of 0.024 s on one
    # core of 2023, at 0.98 of the rate of whole batches (128 tokens: 0.016 s, 0.95; 64: 0.009 s, 0.86).
    short_batch_tokens: ClassVar[int] = 192
    padded: ClassVar[bool] = True

    def __init__(self, model: BertModel, tokenizer: BertTokenizer, encoder: Encoder) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._memo = Memo()

    @classmethod
    def load(cls, spec: ModelSpec, folder: Path, threads: int) -> Self:
        """The first of the runtime's encoders that passes the self-test. Raises `LoadFailed`."""
        check_values(spec, FAMILY_RULES["bert"])
        model = cls.read_model(spec, folder)
        tokenizer = cls.open_tokenizer(spec, folder)
        reference = cls.reference(model, tokenizer, spec, folder, threads)
        for encoder in cls.encoders(model, spec, folder, threads):
            if passes(encoder, model, tokenizer, reference):
                return cls(model, tokenizer, encoder)
            log.warning("encoder.rejected", model=spec.name, precision=encoder.precision)
        raise LoadFailed(
            f"no precision of model '{spec.name}' passes the self-test of {cls.__name__} on this CPU",
            code="bad_native_build",
        )

    @classmethod
    def read_model(cls, spec: ModelSpec, folder: Path) -> BertModel:
        return read_model_folder(spec, folder)

    @classmethod
    def open_tokenizer(cls, spec: ModelSpec, folder: Path) -> BertTokenizer:
        return BertTokenizer.from_folder(folder)

    @classmethod
    def reference(
        cls, model: BertModel, tokenizer: BertTokenizer, spec: ModelSpec, folder: Path, threads: int
    ) -> Reference | None:
        """What the self-test compares with; None: the encoder with itself."""
        return stored_reference(folder)

    @classmethod
    def encoders(cls, model: BertModel, spec: ModelSpec, folder: Path, threads: int) -> Iterator[Encoder]:
        """The encoders to try, the fastest first. A runtime with one overrides `load_encoder` alone."""
        yield cls.load_encoder(model, spec, folder, threads)

    @classmethod
    @abstractmethod
    def load_encoder(cls, model: BertModel, spec: ModelSpec, folder: Path, threads: int) -> Encoder:
        """Load the model's weights. Raises `LoadFailed`."""

    @property
    def info(self) -> dict[str, Any]:
        """What operators want to know of a loaded model."""
        return {
            "architecture": self.model.architecture,
            "precision": self._encoder.precision,
            "dimensions": self.model.hidden,
            "max_tokens": self.model.max_tokens,
        }

    def run(self, feed: Feed) -> Iterator[Event]:
        """Compute parts until the feed is closed and nothing is in hand."""
        budget = Budget(max_tokens=self.max_batch_tokens, max_rows=self.max_rows, padded=self.padded)
        desk = Desk(budget, short=replace(budget, max_tokens=min(budget.max_tokens, self.short_batch_tokens)))
        while True:
            desk.drop(feed.cancelled())
            parts = feed.take(desk.room, wait=0.0 if desk.busy else None)
            for part in parts:
                yield from self._accept(part, desk)
            batch = desk.next_batch()
            if batch.rows:
                yield from self._compute(batch, desk)
            elif not parts and feed.closed:
                return

    def close(self) -> None:
        del self._encoder
        self._memo = Memo(0)

    def _accept(self, part: Part, desk: Desk) -> Iterator[Event]:
        """Check a part and put its rows in line, those excepted whose vector is known."""
        try:
            prepared = prepare(part.endpoint, part.body, self.model, self._tokenizer)
        except InvalidBody as error:
            yield Failed(part.key, ErrorInfo(error.code, error.message, error.param))
            return
        work = Work.of(part.key, prepared, self.model.hidden, interactive=part.lane is Lane.INTERACTIVE)
        waiting = []
        for index, ids in enumerate(prepared.rows):
            if (vector := self._memo.get(key_of(ids))) is None:
                waiting.append(index)
            else:
                work.settle(index, vector)
        desk.add(work, waiting)
        yield from self._finished(work, desk)

    def _compute(self, batch: Batch, desk: Desk) -> Iterator[Event]:
        works = list(dict.fromkeys(row.work for row in batch.rows))
        if fresh := [work for work in works if not work.started]:
            for work in fresh:
                work.started = True
            yield Started([work.key for work in fresh])
        vectors, errors = self._vectors(batch)
        for row in batch.rows:
            if (vector := vectors.get(row.key)) is not None:
                row.work.settle(row.at, vector)
            elif not row.work.ended:
                desk.end(row.work)
                yield Failed(row.work.key, errors[row.key])
        for work in works:
            yield from self._finished(work, desk)

    def _finished(self, work: Work, desk: Desk) -> Iterator[Event]:
        """Done when every row has its vector; else a word on how far it is, now and then."""
        if work.ended:
            return
        if work.missing:
            if (done := work.progress()) is not None:
                yield Progress(work.key, done, float(len(work.prepared.rows)))
            return
        desk.end(work)
        tokens = work.prepared.tokens
        result = result_of(tokens, finish(work.prepared, work.vectors, self.model))
        yield Done(work.key, encode_result(result), units=tokens)

    def _vectors(self, batch: Batch) -> tuple[dict[bytes, Vectors], dict[bytes, ErrorInfo]]:
        """Vector or error of each different row of the batch, from the memo or the encoder."""
        known = {key: vector for key in batch.ids if (vector := self._memo.get(key)) is not None}
        asked = {key: ids for key, ids in batch.ids.items() if key not in known}
        errors: dict[bytes, ErrorInfo] = {}
        for key, answer in zip(asked, self._encode(list(asked.values())), strict=True):
            if isinstance(answer, ErrorInfo):
                errors[key] = answer
            else:
                known[key] = answer
                self._memo.put(key, answer)
        return known, errors

    def _encode(self, rows: list[list[int]]) -> list[Vectors | ErrorInfo]:
        """One native call; if it raises, each row alone, so that only the row at fault fails."""
        if not rows:
            return []
        try:
            vectors = self._encoder.encode(rows)
        except Exception as error:
            if len(rows) > 1:
                return [answer for row in rows for answer in self._encode([row])]
            log.exception("row.failed", tokens=len(rows[0]))
            return [ErrorInfo("engine_error", f"the native library refused this input: {error}")]
        return [vector.copy() if np.isfinite(vector).all() else NOT_FINITE for vector in vectors]
