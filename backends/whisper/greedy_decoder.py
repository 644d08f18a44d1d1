"""Our own decoder, for texts that are written token by token, each the most probable one.

A step of it reads keys and values of the audio in bf16, half of what CTranslate2 reads; that, not computing,
is what a step costs. Windows of different lengths go together: what is behind a window's end is not seen, so
what is heard in it does not depend on its company. Rows that have ended leave once half of the batch has.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from backends.bert.json_files import read_object
from backends.errors import LoadFailed
from backends.whisper.compiled import compile_graph, offered_precisions
from backends.whisper.ct2_decoder import Decoded
from backends.whisper.decoder_graph import MASKED, Head, build_cross, build_step
from backends.whisper.tokens import Vocabulary
from backends.whisper.weights import Array, Weights
from backends.whisper.written import Text

CONFIG = "config.json"
SUPPRESSED = ("suppress_ids", "suppress_ids_begin")
Tokens = NDArray[np.int64]


class GreedyDecoder:
    """`never` are tokens that are not written, `not_first` those that no text begins with."""

    def __init__(
        self,
        cross: ov.CompiledModel,
        step: ov.CompiledModel,
        vocabulary: Vocabulary,
        never: Sequence[int],
        not_first: Sequence[int],
    ) -> None:
        self._cross = cross.create_infer_request()
        # Two, in turns: the keys and values that one has made are what the other one begins with.
        self._steps = step.create_infer_request(), step.create_infer_request()
        self._vocabulary = vocabulary
        self._never, self._not_first = np.array(never, np.int64), np.array(not_first, np.int64)

    @classmethod
    def load(
        cls, weights: Weights, vocabulary: Vocabulary, heads: Sequence[Head], folder: Path, threads: int
    ) -> Self:
        """That of the model in `folder`, which notes where `heads` look. Raises `LoadFailed`."""
        precision = offered_precisions()[0]
        kept = ov.Type.bf16 if precision == "bf16" else ov.Type.f32

        def compiled(name: str, build: partial[ov.Model]) -> ov.CompiledModel:
            return compile_graph(name, build, weights, folder, threads, "int8")

        config = read_object(folder / CONFIG) if (folder / CONFIG).exists() else {}
        listed = (_listed(config, name, weights.shape.vocabulary) for name in SUPPRESSED)
        return cls(
            compiled("cross", partial(build_cross, weights, kept)),
            compiled("step", partial(build_step, weights, kept, heads)),
            vocabulary,
            *listed,
        )

    def decode(
        self, states: Array, positions: Sequence[int], prompts: Sequence[Sequence[int]], most: Sequence[int]
    ) -> list[Decoded]:
        """Texts of encoder states float32 (rows, positions, hidden), of which the first `positions` count in
        each row, after prompts of equal length; each of `most` tokens at most."""
        opening = np.array(prompts, np.int64)
        heard = 1 + list(prompts[0]).index(self._vocabulary.start)
        run = _Run(self._steps, self._audio(states), positions)
        no_speech = self._no_speech(run.step(opening[:, :heard]))
        texts = [Text(room) for room in most]
        rows = list(texts)
        logits = self._allowed(run.step(opening[:, heard:]))
        run.note(rows)
        logits[:, self._not_first] = MASKED
        while True:
            tokens, logprobs = most_probable(logits)
            for text, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
                text.write(token, logprob, self._vocabulary.end)
            going = [number for number, text in enumerate(rows) if not text.ended]
            if not going:
                break
            if 2 * len(going) <= len(rows):
                run.keep(going)
                rows, tokens = [rows[number] for number in going], tokens[going]
            logits = self._allowed(run.step(tokens[:, None]))
            run.note(rows)
        return [
            text.decoded(probability) for text, probability in zip(texts, no_speech.tolist(), strict=True)
        ]

    def _audio(self, states: Array) -> list[ov.Tensor]:
        self._cross.infer([states], share_inputs=True)
        return list(self._cross.output_tensors)

    def _allowed(self, logits: Array) -> Array:
        """In place: what is no text is never written, but the end."""
        logits[:, self._vocabulary.end + 1 :] = MASKED
        logits[:, self._never] = MASKED
        return logits

    def _no_speech(self, logits: Array) -> Array:
        token = self._vocabulary.no_speech
        return np.asarray(np.exp(logits[:, token] - logits.max(axis=1)) / _sums(logits))


def _listed(config: dict[str, Any], name: str, vocabulary: int) -> list[int]:
    """The tokens under a name of the config; what is negative stands for others that are suppressed anyway.
    Raises `LoadFailed`."""
    try:
        tokens = msgspec.convert(config.get(name) or [], list[int])
    except msgspec.ValidationError:
        tokens = [vocabulary]
    if max(tokens, default=0) >= vocabulary:
        message = f"{CONFIG}: {name} must list tokens of the model by number"
        raise LoadFailed(message, code="model_load_failed")
    return [token for token in tokens if token >= 0]


class _Run:
    """The steps of one batch: where it is, and the keys and values so far."""

    def __init__(
        self,
        steps: tuple[ov.InferRequest, ov.InferRequest],
        audio: list[ov.Tensor],
        positions: Sequence[int],
    ) -> None:
        self._steps = steps
        self._place = 0
        self._positions = list(positions)
        self._audio = audio
        (rows, heads, most, size), kept = audio[0].shape, audio[0].element_type
        behind = np.arange(most) >= np.array(positions)[:, None]
        self._away = (MASKED * behind).astype(np.float32)[:, None, None]
        self._before = [ov.Tensor(kept, ov.Shape([rows, heads, 0, size])) for _ in audio]

    def step(self, tokens: Tokens) -> Array:
        """Logits float32 (rows, vocabulary) behind `tokens` (rows, width); the caller's until the step after
        the next one."""
        request = self._steps[0]
        arrays = np.ascontiguousarray(tokens), np.array([self._place], np.int64), self._away
        inputs = [*map(ov.Tensor, arrays), *self._audio, *self._before]
        request.set_input_tensors(dict(enumerate(inputs)))
        request.infer()
        logits, self._seen, *self._before = request.output_tensors
        self._steps = self._steps[1], self._steps[0]
        self._place += tokens.shape[1]
        return np.asarray(logits.data)

    def note(self, texts: Sequence[Text]) -> None:
        """What the last token of each text, as it is in the batch, looked at."""
        seen = self._seen.data[:, :, -1].copy()
        for text, row, positions in zip(texts, seen, self._positions, strict=True):
            if not text.ended:
                text.seen.append(row[:, :positions])

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        self._positions = [self._positions[row] for row in rows]
        self._away = self._away[rows]
        self._audio = [_rows_of(tensor, rows) for tensor in self._audio]
        self._before = [_rows_of(tensor, rows) for tensor in self._before]


def most_probable(logits: Array) -> tuple[Tokens, Array]:
    """The first of the largest in each row, and the logarithm of its probability."""
    tokens = logits.argmax(axis=1)
    return tokens, -np.log(_sums(logits))


def _sums(logits: Array) -> Array:
    """Of exp(logit - largest), row by row, each in the cache."""
    scratch = np.empty(logits.shape[1], np.float32)
    found = np.empty(len(logits), np.float32)
    for number, row in enumerate(logits):
        np.subtract(row, row.max(), out=scratch)
        found[number] = np.exp(scratch, out=scratch).sum()
    return found


def _rows_of(tensor: ov.Tensor, rows: Sequence[int]) -> ov.Tensor:
    kept = ov.Tensor(tensor.element_type, ov.Shape([len(rows), *list(tensor.shape)[1:]]))
    bits = np.uint16 if tensor.element_type == ov.Type.bf16 else np.uint32
    np.take(tensor.data.view(bits), rows, axis=0, out=kept.data.view(bits))
    return kept
