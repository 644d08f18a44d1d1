"""The fast runtime's recognizer: encoder on OpenVINO, decoder on CTranslate2, both from one folder."""

from collections.abc import Sequence

import numpy as np

from backends.spoken_languages import check_languages
from backends.whisper.alignment import Aligner
from backends.whisper.ct2_decoder import Decoded, Decoder
from backends.whisper.encoder import Encoder
from backends.whisper.greedy_decoder import GreedyDecoder
from backends.whisper.guard import compression_ratio
from backends.whisper.mel import FRAMES_PER_SECOND, HOP, LONGEST, log_mel
from backends.whisper.spelling import text_of, token_ends
from backends.whisper.token_cap import most_tokens
from backends.whisper.tokens import ENGLISH, Vocabulary
from backends.whisper.weights import Array, Shape, Weights
from backends.whisper.window import Asking, Heard, Window

# What is heard of a window: the silence behind it, and how long both are at least. With less, Whisper loops
# more often, and hearing it again costs more than that.
SILENCE_SECONDS, LEAST_SECONDS = 2, 8
# Frames that the lengths of windows are rounded up to: OpenVINO keeps something of every shape that it saw.
STEP = 50
# Windows per call, so that one takes about a second: 16 with a model of tiny's size, fewer with larger ones.
MOST_WINDOWS, TINY = 16, 4 * 384


class CTranslate2Recognizer:
    """See `Recognizer`. Prepared is a window's encoder states, float32 (positions, hidden)."""

    window_seconds = 15.0  # a third faster than 29: what is short is padded less

    def __init__(
        self,
        weights: Weights,
        vocabulary: Vocabulary,
        encoder: Encoder,
        decoder: Decoder,
        greedy: GreedyDecoder | None,
        aligner: Aligner,
    ) -> None:
        self.weights = weights
        self.vocabulary = vocabulary
        self.multilingual = vocabulary.multilingual
        self.batch_windows = max(1, min(MOST_WINDOWS, MOST_WINDOWS * TINY // _size(weights.shape)))
        # One by one is as fast as together, nothing is padded to another's length, and a call is short.
        self.encode_windows = 1
        self.precision = encoder.precision
        self._encoder = encoder
        self._decoder = decoder
        self._greedy = greedy
        self.aligner = aligner

    def check(self, asking: Asking) -> None:
        """See `Recognizer`."""
        known = set(self.vocabulary.languages.values()) or {ENGLISH}
        check_languages(asking.task, asking.language, known, translates=self.multilingual)

    def prepare(self, windows: Sequence[Window], *, full: bool = False) -> list[Array]:
        """See `Recognizer`."""
        return list(self.encode(windows, full=full))

    def encode(self, windows: Sequence[Window], *, full: bool = False) -> Array:
        """Encoder states float32 (windows, positions, hidden) of windows with silence behind each; 50
        positions are a second."""
        longest = max(len(window.samples) for window in windows)
        frames = -(-longest // (HOP * STEP)) * STEP + SILENCE_SECONDS * FRAMES_PER_SECOND
        frames = min(LONGEST, max(frames, LEAST_SECONDS * FRAMES_PER_SECOND))
        frames = LONGEST if full else frames
        mels = [log_mel(window.samples, frames, self.weights.shape.mels) for window in windows]
        return self._encoder.encode(np.stack(mels))

    def recognize(self, windows: Sequence[Window], prepared: Sequence[Array], asking: Asking) -> list[Heard]:
        """See `Recognizer`."""
        states = _stacked(prepared)
        languages = self._languages(states, asking)
        text_positions = self.weights.shape.text_positions
        before = self.vocabulary.before(asking, text_positions // 2 - 1)
        prompts = [before + self.vocabulary.opening(language, asking.task) for language in languages]
        room = min(text_positions - len(prompts[0]), text_positions // 2)
        most = [min(room, most_tokens(*row)) for row in zip(windows, languages, strict=True)]
        if self._greedy is not None and asking.temperature == 0:
            found = self._greedy.decode(states, list(map(len, prepared)), prompts, most)
        else:
            found = self._decoder.decode(
                states, prompts, most=max(most), temperature=asking.temperature, logprobs=asking.logprobs
            )
        heard = [self._heard(*row, asking) for row in zip(found, languages, most, strict=True)]
        seen = [row.seen for row in found if row.seen is not None]
        if len(seen) == len(found):
            words = self.aligner.align_seen(windows, heard, seen)
        else:
            openings = [self.vocabulary.opening(language, asking.task) for language in languages]
            words = self.aligner.align(windows, states, heard, openings)
        for each, timed in zip(heard, words, strict=True):
            each.words = timed
        return heard

    def close(self) -> None:
        """See `Recognizer`."""
        del self._encoder, self._decoder, self._greedy, self.aligner

    def _languages(self, states: Array, asking: Asking) -> list[str]:
        if not self.multilingual:
            return [ENGLISH] * len(states)
        if asking.language is not None:
            return [asking.language] * len(states)
        return self._decoder.languages(states)

    def _heard(self, row: Decoded, language: str, most: int, asking: Asking) -> Heard:
        tokens = self.vocabulary.spoken(row.tokens)
        pieces = self.vocabulary.pieces(tokens)
        text = text_of(pieces)
        logprobs = row.token_logprobs if asking.logprobs else None
        if logprobs is not None:
            pairs = zip(row.tokens, logprobs, strict=True)
            logprobs = [logprob for token, logprob in pairs if token < self.vocabulary.end]
        return Heard(
            text=text,
            tokens=tokens,
            avg_logprob=row.logprob / (len(row.tokens) + 1),
            no_speech_prob=row.no_speech_prob,
            temperature=asking.temperature,
            compression_ratio=compression_ratio(text),
            language=language,
            token_ends=token_ends(pieces),
            capped=row.looping or len(row.tokens) >= most,
            token_logprobs=logprobs,
        )


def _size(shape: Shape) -> int:
    return shape.decoder_layers * shape.hidden


def _stacked(prepared: Sequence[Array]) -> Array:
    """Rows of equal length: the silence at the end of shorter ones goes on."""
    positions = max(map(len, prepared))
    rows = [np.pad(row, ((0, positions - len(row)), (0, 0)), mode="edge") for row in prepared]
    return np.stack(rows)
