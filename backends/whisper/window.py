"""What travels between the stages of the whisper family: speech, windows of it, and what was heard in them.

Positions are samples at `RATE` from the recording's beginning, unless said otherwise; audio is float32 in
[-1, 1].
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backends.transcription import Task
from backends.types import Word

RATE = 16_000  # samples per second that Whisper and Silero VAD were trained on
Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of speech, `start` ≤ position < `end`."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A stretch of one channel that is heard in one go, cut in silence. `samples` is float32 (n,), `speech`
    the spans inside, absolute."""

    start: int
    samples: Samples
    speech: tuple[Span, ...]
    channel: int | None = None

    @property
    def end(self) -> int:
        return self.start + len(self.samples)

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """What is asked of the model; windows that are asked the same may share a native call.

    `prompt` is text that comes before, `logprobs`: those of tokens are wanted. Word times always
    are: segments are cut between words.
    """

    task: Task = "transcribe"
    language: str | None = None
    prompt: str | None = None
    temperature: float = 0.0
    logprobs: bool = False


@dataclass(kw_only=True, slots=True)
class Heard:
    """What the model heard in a window. `text` has its leading space; `tokens` are without special ones.

    `avg_logprob` is the mean over tokens and the end token, `compression_ratio` the text's length over that
    of its zlib form, `capped`: it stopped at the token cap and not by itself. `token_ends` says how many
    characters of `text` are complete with each token (`spelling.token_ends`; empty: not known). `words` have
    absolute times.
    """

    text: str
    tokens: list[int]
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    compression_ratio: float
    language: str | None = None
    capped: bool = False
    token_ends: list[int] = field(default_factory=list)
    token_logprobs: list[float] | None = None
    words: list[Word] | None = None
