"""Word times of the real model: those of CTranslate2's own method, and right."""

import csv
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from backends.whisper.ct2_decoder import open_model
from backends.whisper.ct2_recognizer import CTranslate2Recognizer
from backends.whisper.speech import spans_of
from backends.whisper.vad import Vad
from backends.whisper.window import Asking, Heard, Window
from tests.fixtures.recordings import read
from tests.fixtures.speech import clips

WORDS = Path(__file__).parents[2] / "data" / "whisper" / "words.tsv"
FRAME_MS = 20
BATCH = 8

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def windows(vad: Vad) -> list[Window]:
    """Every clip as one, by name."""
    found = [(samples := read(path), spans_of(vad.probabilities(samples), len(samples))) for path in clips()]
    return [Window(start=0, samples=samples, speech=tuple(spans)) for samples, spans in found]


@pytest.fixture(scope="module")
def heard(whisper_recognizer: CTranslate2Recognizer, windows: list[Window]) -> list[Heard]:
    return [
        heard
        for batch in batches(windows)
        for heard in whisper_recognizer.recognize(
            batch, whisper_recognizer.prepare(batch), Asking(words=True)
        )
    ]


def test_words_begin_within_100_ms_of_a_forced_alignment_in_the_mean(heard: list[Heard]):
    errors = np.concatenate([start_errors(*row) for row in zip(heard, spoken_words(), strict=True)])
    assert len(errors) > 300  # of 381 words that are said: those that were heard right
    assert np.abs(errors).mean() <= 100
    assert abs(np.median(errors)) <= 30  # neither late nor early
    assert (np.abs(errors) <= 200).mean() >= 0.9


def test_tokens_are_looked_for_where_ctranslate2_finds_them(
    whisper_folder: Path,
    whisper_recognizer: CTranslate2Recognizer,
    windows: list[Window],
    heard: list[Heard],
):
    model = open_model(whisper_folder, 1, "float32")
    opening = whisper_recognizer.vocabulary.opening("en", "transcribe")
    differences: list[int] = []
    for place, said in zip(windows, heard, strict=True):
        states = whisper_recognizer.encode([place])
        found = whisper_recognizer.aligner.token_frames([place], states, [said], [opening])[0]
        aligned = model.align(
            ctranslate2.StorageView.from_array(states), opening[:-1], [said.tokens], len(place.samples) // 160
        )[0]
        first = dict(reversed(aligned.alignments))
        differences += [abs(found[token] - first[token]) for token in range(len(said.tokens))]
    assert len(differences) > 400
    assert np.mean(differences) <= 1.0  # frames of 20 ms
    assert np.mean(np.array(differences) <= 2) >= 0.95


def batches(windows: list[Window]) -> Iterator[list[Window]]:
    return (windows[first : first + BATCH] for first in range(0, len(windows), BATCH))


def spoken_words() -> list[list[tuple[str, int]]]:
    """Words and when they begin, clip by clip by name (tests/references/whisper_words.py)."""
    with WORDS.open() as file:
        rows = list(csv.reader(file, delimiter="\t"))
    return [[(word, int(start)) for name, start, _, word in rows if name == clip.stem] for clip in clips()]


def start_errors(heard: Heard, spoken: list[tuple[str, int]]) -> list[int]:
    """By how many milliseconds each word that was heard right begins too late."""
    assert heard.words is not None
    texts = ["".join(filter(lambda c: c.isalnum() or c == "'", word.text.lower())) for word in heard.words]
    matcher = SequenceMatcher(None, texts, [word for word, _ in spoken], autojunk=False)
    pairs = [(a + n, b + n) for a, b, length in matcher.get_matching_blocks() for n in range(length)]
    return [heard.words[mine].start_ms - spoken[theirs][1] for mine, theirs in pairs]
