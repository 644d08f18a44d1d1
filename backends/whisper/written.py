"""A text while it is written, token by token: where it ends, and whether it loops."""

import numpy as np

from backends.whisper.ct2_decoder import Decoded
from backends.whisper.weights import Array

# What is said three times in a row, in so many tokens at least, is said until the cap is reached. Looked for
# every few tokens.
LOOP_TIMES, LOOP_TOKENS, LOOP_EVERY, LONGEST_LOOP = 3, 30, 6, 24


class Text:
    """What is written of a row, and the logarithm of its probability; `ended` by itself, at the cap, or where
    it was found looping."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.seen: list[Array] = []
        self.ended = self._looping = False

    def write(self, token: int, logprob: float, end: int) -> None:
        if self.ended:
            return
        self.logprobs.append(logprob)
        if token != end:
            self.tokens.append(token)
        if len(self.tokens) % LOOP_EVERY == 0:
            self._looping = loops(self.tokens)
        self.ended = token == end or len(self.tokens) >= self._most or self._looping

    def decoded(self, no_speech: float) -> Decoded:
        return Decoded(
            tokens=self.tokens,
            logprob=sum(self.logprobs),
            no_speech_prob=no_speech,
            token_logprobs=self.logprobs[: len(self.tokens)],
            looping=self._looping,
            seen=self._seen(),
        )

    def _seen(self) -> Array:
        """What was looked at for each token and the end; for that, where it was not written, as before."""
        missing = len(self.tokens) + 1 - len(self.seen)
        return np.stack([*self.seen, *[self.seen[-1]] * missing], axis=1)


def loops(tokens: list[int]) -> bool:
    """Whether the end of a text says the same again and again."""
    for period in range(1, LONGEST_LOOP + 1):
        tail = tokens[-max(LOOP_TIMES * period, LOOP_TOKENS) :]
        if len(tail) >= max(LOOP_TIMES * period, LOOP_TOKENS) and tail[period:] == tail[:-period]:
            return True
    return False
