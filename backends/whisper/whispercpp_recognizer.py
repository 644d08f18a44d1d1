"""The compatible runtime's recognizer: any ggml file, one window per call, over whisper.cpp."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from backends.errors import InvalidBody
from backends.spoken_languages import check_languages
from backends.whisper import whispercpp_library as library
from backends.whisper.ggml_file import GgmlFile
from backends.whisper.guard import LEAST_LOGPROB, SILENT_PROB, compression_ratio
from backends.whisper.spelling import text_of, token_ends
from backends.whisper.timed_words import timed_words
from backends.whisper.token_cap import ENGLISH, most_tokens
from backends.whisper.whispercpp_heads import token_starts
from backends.whisper.window import RATE, Asking, Heard, Samples, Window

POSITIONS_PER_SECOND = 50
# Positions of silence heard behind a window; with less, Whisper loops. Wrong words of tiny.en in 330 s of
# test-other: 36 % with none, 11.3 with 50, 11.6 with 100; computing all 1,500 costs three times as much.
SILENT_POSITIONS = 100
LEAST_SECONDS = 1.0  # whisper.cpp skips what is shorter than 0.1
LONGEST_SECONDS = 30.0
TIMES = 2  # tokens of times around a text; without them, windows that are cut short loop
KEPT_FREE = 8  # tokens of the half of the context that a text may fill
PROMPT_BYTES = 1024  # beyond 1,024 tokens whisper.cpp writes on without capitals; it uses 223


@dataclass(frozen=True)
class Prepared:
    """Samples as the library takes them, and how many encoder positions to compute; 0: all."""

    samples: Samples
    positions: int


class WhisperCppRecognizer:
    """See `Recognizer`. `handle` is the library's, of the model that `file` describes."""

    window_seconds = 15.0
    batch_windows = 1  # it has no batches
    encode_windows = 16  # nothing is computed in `prepare`
    precision: str

    def __init__(self, handle: Any, file: GgmlFile, *, beam_size: int, threads: int) -> None:
        self.multilingual = file.sizes.multilingual
        self.precision = file.sizes.precision
        self._handle = handle
        self._file = file
        self._beam_size = beam_size
        self._threads = threads

    def check(self, asking: Asking) -> None:
        """See `Recognizer`."""
        known = library.languages()[: self._file.sizes.languages] if self.multilingual else [ENGLISH]
        check_languages(asking.task, asking.language, known, translates=self.multilingual)

    def prepare(self, windows: Sequence[Window], *, full: bool = False) -> list[Prepared]:
        """See `Recognizer`. Raises `InvalidBody` for samples that are not finite: the library would loop over
        them for a minute."""
        return [self._prepared(window, full) for window in windows]

    def recognize(
        self, windows: Sequence[Window], prepared: Sequence[Prepared], asking: Asking
    ) -> list[Heard]:
        """See `Recognizer`."""
        pairs = zip(windows, prepared, strict=True)
        return [self._recognized(window, each, asking) for window, each in pairs]

    def close(self) -> None:
        """See `Recognizer`."""
        library.free_model(self._handle)
        self._handle = None

    def _prepared(self, window: Window, full: bool) -> Prepared:
        samples = window.samples
        if samples.ndim != 1 or samples.dtype != np.float32 or window.seconds > LONGEST_SECONDS:
            raise ValueError(f"a window is up to 30 s of float32, not {samples.dtype} {samples.shape}")
        if not np.isfinite(samples).all():
            raise InvalidBody("a sample is not a finite number", code="invalid_audio", param="file")
        lacking = max(0, int(LEAST_SECONDS * RATE) - len(samples))
        samples = np.ascontiguousarray(np.pad(samples, (0, lacking)))
        wanted = ceil(len(samples) / RATE * POSITIONS_PER_SECOND) + SILENT_POSITIONS
        positions = 0 if full or wanted >= self._file.sizes.positions else wanted
        return Prepared(samples, positions)

    def _recognized(self, window: Window, prepared: Prepared, asking: Asking) -> Heard:
        params = library.new_params(beam_size=self._beam_size, threads=self._threads)
        known = asking.language if self.multilingual else ENGLISH
        most = min(most_tokens(window, known) + TIMES, self._file.sizes.text_positions // 2 - KEPT_FREE)
        params.audio_ctx = prepared.positions
        params.max_tokens = most
        params.temperature = asking.temperature
        params.translate = asking.task == "translate"
        params.language = known or ""  # which it then detects
        params.initial_prompt = _end_of(asking.prompt or "")
        params.no_speech_thold, params.logprob_thold = SILENT_PROB, LEAST_LOGPROB
        tokens = library.hear(self._handle, params, prepared.samples)
        language = library.language_code(self._handle) if self.multilingual else ENGLISH
        return self._heard(window, tokens, most, asking, language)

    def _heard(self, window: Window, tokens: list[Any], most: int, asking: Asking, language: str) -> Heard:
        end = self._file.sizes.end
        spoken = [token for token in tokens if token.id < end]
        pieces = [self._file.vocabulary[token.id] for token in spoken]
        text = text_of(pieces)
        ended = [token for token in tokens if token.id == end]
        logprob = sum(token.plog for token in spoken + ended) / (len(spoken) + 1)
        heard = Heard(
            text=text,
            tokens=[token.id for token in spoken],
            # Nothing at all means that it found the window silent by this rule; it does not tell its numbers.
            avg_logprob=logprob if tokens else 2 * LEAST_LOGPROB,
            no_speech_prob=0.0 if tokens else 1.0,
            temperature=asking.temperature,
            compression_ratio=compression_ratio(text),
            language=language,
            capped=len(tokens) > most and not ended,
            token_ends=token_ends(pieces),
            token_logprobs=[token.plog for token in spoken] if asking.logprobs else None,
        )
        # Also where nobody asks for words: segments are cut between them.
        heard.words = timed_words(window, heard, token_starts(spoken, self._file.sizes))
        return heard


def _end_of(prompt: str) -> str:
    """As much of a text's end as the model may be told, beginning with a word."""
    encoded = prompt.strip().encode()
    if len(encoded) <= PROMPT_BYTES:
        return encoded.decode()
    _, _, kept = encoded[-PROMPT_BYTES:].decode(errors="ignore").partition(" ")
    return kept
