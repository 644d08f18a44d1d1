"""When each word of a heard text is spoken: where the decoder looks while it writes the word.

Whisper's published method (openai-whisper, `timing.py`): the attention of heads that are known to follow the
audio, and dynamic time warping. Here one pass does for many windows, and the median filter is left out: words
begin within 62 ms in the mean on cli/clips without it, and within 61 ms with it.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import openvino as ov
import structlog

from backends.bert.json_files import read_object
from backends.errors import LoadFailed
from backends.types import Word
from backends.whisper.alignment_graph import TINY, Head, build_alignment
from backends.whisper.compiled import compile_graph
from backends.whisper.timed_words import timed_words
from backends.whisper.warping import Integers, first_frames
from backends.whisper.weights import Array, Shape, Weights
from backends.whisper.window import RATE, Heard, Window

log = structlog.get_logger(__name__)

CONFIG = "config.json"
FRAME = RATE // 50  # samples per position of the encoder
# OpenVINO keeps something of every shape that it has seen, so there should be few of them: texts are as wide
# as a multiple of this, and all positions of a window's grade are given.
WIDTHS = 16
# By how much the decoder looks later than a word begins: the median over the words of cli/clips that do not
# follow a pause, against a forced alignment (tests/references/whisper_words.py).
LAG = RATE * 12 // 100


class Aligner:
    """Word times of a model, for windows that its encoder and decoder have been through.

    Our own decoder notes where it looks; for texts that it has not written there is a graph, which is
    compiled once it is needed.
    """

    def __init__(self, compiled: Callable[[], ov.CompiledModel], end_token: int) -> None:
        self._compiled = compiled
        self._end_token = end_token

    @classmethod
    def load(cls, weights: Weights, end_token: int, folder: Path, threads: int) -> Self:
        """That of the model in `folder`. Raises `LoadFailed`."""
        build = partial(build_alignment, weights, alignment_heads(folder, weights.shape))
        return cls(partial(_compiled, build, weights, folder, threads), end_token)

    @cached_property
    def _request(self) -> ov.InferRequest:
        return self._compiled().create_infer_request()

    def align(
        self,
        windows: Sequence[Window],
        states: Array,
        heard: Sequence[Heard],
        openings: Sequence[Sequence[int]],
    ) -> list[list[Word]]:
        """The words of each window's text, with times that increase and lie inside the window.

        `states` float32 (windows, positions, hidden) are the encoder's; `openings` the tokens right before
        each text, equally many, without a prompt; `heard` must have its `token_ends`.
        """
        starts = self.token_frames(windows, states, heard, openings)
        rows = zip(windows, heard, starts * FRAME - LAG, strict=True)
        return [timed_words(window, each, samples.tolist()) for window, each, samples in rows]

    def align_seen(
        self, windows: Sequence[Window], heard: Sequence[Heard], seen: Sequence[Array]
    ) -> list[list[Word]]:
        """The same from what was looked at for each token and the end, float32 (heads, tokens + 1, positions)
        of each window."""
        frames = np.array(
            [
                min(-(-len(window.samples) // FRAME), each.shape[2])
                for window, each in zip(windows, seen, strict=True)
            ]
        )
        tokens = np.array([each.shape[1] for each in seen])
        attention = np.zeros((len(seen), tokens.max(), frames.max()), np.float32)
        for row, each in enumerate(seen):
            attention[row, : tokens[row], : frames[row]] = standard(each, frames[row])
        starts = first_frames(-attention, tokens, frames)
        rows = zip(windows, heard, starts * FRAME - LAG, strict=True)
        return [timed_words(window, each, samples.tolist()) for window, each, samples in rows]

    def token_frames(
        self,
        windows: Sequence[Window],
        states: Array,
        heard: Sequence[Heard],
        openings: Sequence[Sequence[int]],
    ) -> Integers:
        """From which position of the encoder on (20 ms each) the decoder looks for each token, and for the
        end behind the last: int64 (windows, most tokens + 1). Arguments as those of `align`."""
        frames = np.array([min(-(-len(window.samples) // FRAME), states.shape[1]) for window in windows])
        tokens = np.array([len(each.tokens) for each in heard])
        attention = self._attention(states, frames, heard, openings)
        return first_frames(-attention, tokens + 1, frames)

    def _attention(
        self, states: Array, frames: Integers, heard: Sequence[Heard], openings: Sequence[Sequence[int]]
    ) -> Array:
        """Of each token of a text, and the end behind it, the attention with which it is written: float32
        (windows, tokens + 1, frames)."""
        rows = [[*opening, *each.tokens] for opening, each in zip(openings, heard, strict=True)]
        widths = np.array([len(row) + 1 for row in rows])
        width = -(-int(widths.max()) // WIDTHS) * WIDTHS
        ids = np.full((len(rows), width), self._end_token, dtype=np.int64)
        for line, row in zip(ids, rows, strict=True):
            line[: len(row)] = row
        self._request.infer([np.ascontiguousarray(states), ids, widths, frames], share_inputs=True)
        attention: Array = self._request.get_output_tensor(0).data
        return attention[:, len(openings[0]) - 1 : -1]  # what a token sees writes the one after it


def _compiled(
    build: Callable[[], ov.Model], weights: Weights, folder: Path, threads: int
) -> ov.CompiledModel:
    try:
        return compile_graph("alignment", build, weights, folder, threads, "int8")
    except LoadFailed as error:  # a device may report what it cannot compile
        log.warning("aligner.refused", reason=error.message)
        return compile_graph("alignment", build, weights, folder, threads, "f32")


def standard(seen: Array, frames: int) -> Array:
    """Attention (heads, tokens, positions) to that of `frames` positions alone, of mean 0 and variance 1 over
    the tokens at each position, and of that the heads' mean: (tokens, frames), as the graph has it."""
    inside = seen[:, :, :frames]
    inside = inside / np.maximum(inside.sum(axis=2, keepdims=True), TINY)
    inside -= inside.mean(axis=1, keepdims=True)
    inside /= np.sqrt((inside * inside).mean(axis=1, keepdims=True) + TINY)
    return np.asarray(inside.mean(axis=0))


def alignment_heads(folder: Path, shape: Shape) -> list[Head]:
    """The heads that follow the audio, as the `config.json` in `folder` names them; where it names none, all
    of the later half of the layers, as Whisper has it too. Raises `LoadFailed` for heads that are not there.
    """
    named = read_object(folder / CONFIG).get("alignment_heads") if (folder / CONFIG).exists() else None
    layers = range(shape.decoder_layers)
    if named is None:
        return [(layer, head) for layer in layers[len(layers) // 2 :] for head in range(shape.heads)]
    try:
        heads = msgspec.convert(named, list[Head])
    except msgspec.ValidationError:
        heads = []
    if not heads or any(layer not in layers or head not in range(shape.heads) for layer, head in heads):
        message = f"{CONFIG}: alignment_heads must name heads of the model by layer and number"
        raise LoadFailed(message, code="model_load_failed")
    return heads
