"""CTranslate2's decoder, over what our encoder makes.

Only here and in `encoder.py` CTranslate2 is called. Its traps: `max_length` is halved, as half of it is meant
for a prompt; every row of a call must have as many positions as the others; scores are a mean over the tokens
without the one that ends the text.
"""

from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import numpy as np

from backends.errors import LoadFailed
from backends.whisper.weights import Array

SEED = 0  # the same windows in the same order give the same texts, sampled ones too
BEST_OF = 5  # texts sampled at a temperature, of which the most probable is taken; Whisper's own


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Tokens without the one that ends the text; `logprob` is the sum over them and that one.
    `token_logprobs`, where asked, belong to `tokens`. `looping`: it was stopped, as it said the same again
    and again. `seen`, where known, is how much the alignment heads looked at each position of the audio while
    each of `tokens` and the end were written, float32 (heads, tokens + 1, positions)."""

    tokens: list[int]
    logprob: float
    no_speech_prob: float
    token_logprobs: list[float] | None = None
    looping: bool = False
    seen: Array | None = None


def open_model(folder: Path, threads: int, compute_type: str) -> ctranslate2.models.Whisper:
    """Load the model in `folder`. Raises `LoadFailed`."""
    ctranslate2.set_random_seed(SEED)  # later calls would have no effect on its thread
    try:
        return ctranslate2.models.Whisper(
            str(folder), device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=threads
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise LoadFailed(f"CTranslate2 cannot load the model: {reason}", code="model_load_failed") from None


class Decoder:
    """`beam_size` 1 is greedy."""

    def __init__(self, model: ctranslate2.models.Whisper, beam_size: int) -> None:
        self._model = model
        self._beam_size = beam_size

    def decode(
        self, states: Array, prompts: list[list[int]], *, most: int, temperature: float, logprobs: bool
    ) -> list[Decoded]:
        """Texts of encoder states float32 (rows, positions, hidden), each of `most` tokens at most, after
        prompts of equal length."""
        length = max(2 * most, most + len(prompts[0]))
        if temperature > 0:
            how = {"beam_size": 1, "sampling_topk": 0, "sampling_temperature": temperature}
            how |= {"num_hypotheses": BEST_OF}
        else:
            how = {"beam_size": self._beam_size}
        found = self._model.generate(
            ctranslate2.StorageView.from_array(np.ascontiguousarray(states)),
            prompts,
            max_length=length,
            return_scores=True,
            return_no_speech_prob=True,
            return_logits_vocab=logprobs,
            **how,
        )
        return [_decoded(row, logprobs) for row in found]

    def languages(self, states: Array) -> list[str]:
        """The most probable language of each row, as a code."""
        found = self._model.detect_language(ctranslate2.StorageView.from_array(np.ascontiguousarray(states)))
        return [row[0][0].strip("<|>") for row in found]


def _decoded(row: ctranslate2.models.WhisperGenerationResult, logprobs: bool) -> Decoded:
    tokens = list(row.sequences_ids[0])
    return Decoded(
        tokens=tokens,
        logprob=row.scores[0] * len(tokens) if tokens else 0.0,  # the mean over no tokens is not a number
        no_speech_prob=row.no_speech_prob,
        token_logprobs=_token_logprobs(row, tokens) if logprobs else None,
    )


def _token_logprobs(row: ctranslate2.models.WhisperGenerationResult, tokens: list[int]) -> list[float]:
    found = []
    for token, view in zip(tokens, row.logits[0], strict=False):
        logits = np.array(view, dtype=np.float32).reshape(-1)
        top = float(logits.max())
        found.append(float(logits[token]) - top - float(np.log(np.exp(logits - top).sum())))
    return found
