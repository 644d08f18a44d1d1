"""Inputs with more tokens than the model takes: refuse, shorten, or cut into windows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from backends.bert.tokenizer import BertTokenizer


def content_of(ids: list[int], tokenizer: BertTokenizer) -> tuple[list[int], list[int], list[int]]:
    """`ids` as (opening, content, closing). Ids that a caller sent without special tokens have neither."""
    opening, closing = tokenizer.opening, tokenizer.closing
    end = len(ids) - len(closing)
    if end >= len(opening) and ids[: len(opening)] == opening and ids[end:] == closing:
        return opening, ids[len(opening) : end], closing
    return [], ids, []


def shorten(ids: list[int], limit: int, tokenizer: BertTokenizer) -> list[int]:
    """The first `limit` tokens, the last of them still being the closing special tokens, as
    sentence-transformers truncates."""
    opening, content, closing = content_of(ids, tokenizer)
    return [*opening, *content[: room(limit, opening, closing)], *closing]


def windows(ids: list[int], limit: int, tokenizer: BertTokenizer) -> list[list[int]]:
    """Consecutive windows of at most `limit` tokens, each between its own special tokens."""
    opening, content, closing = content_of(ids, tokenizer)
    step = room(limit, opening, closing)
    return [[*opening, *content[start : start + step], *closing] for start in range(0, len(content), step)]


def room(limit: int, opening: list[int], closing: list[int]) -> int:
    """Tokens of content in a window of `limit` (at least one, so that a window always moves on)."""
    return max(1, limit - len(opening) - len(closing))


def means(
    vectors: npt.NDArray[np.float32],
    lengths: npt.NDArray[np.int64],
    spans: Sequence[tuple[int, int]],
    *,
    normalize: bool,
) -> npt.NDArray[np.float32]:
    """One vector per span of windows: float32 (windows, d) to (spans, d).

    Windows are weighted by their tokens (`lengths`) and the mean is brought back to unit length: the method
    of OpenAI's cookbook, "Embedding texts that are longer than the model's maximum context length". A span
    of one window keeps its vector as it is.
    """
    out = np.empty((len(spans), vectors.shape[1]), dtype=np.float32)
    for at, (start, stop) in enumerate(spans):
        out[at] = vectors[start]
        if stop - start > 1:
            out[at] = np.average(vectors[start:stop], axis=0, weights=lengths[start:stop])
            length = np.linalg.norm(out[at])
            if normalize and length > 0:
                out[at] /= length
    return out
