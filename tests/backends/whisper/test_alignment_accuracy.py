"""Word times of the real model are right on both runtimes, and those of CTranslate2's own method."""

import csv
import re
from difflib import SequenceMatcher
from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from backends.whisper.ct2_decoder import open_model
from backends.whisper.ct2_recognizer import CTranslate2Recognizer
from backends.whisper.recognizer import Recognizer
from backends.whisper.speech import spans_of
from backends.whisper.vad import Vad
from backends.whisper.window import Asking, Heard, Window
from tests.fixtures.recordings import read
from tests.fixtures.speech import clips

WORDS = Path(__file__).parents[2] / "data" / "whisper" / "words.tsv"
Starts = list[tuple[str, int]]  # words and milliseconds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def windows(vad: Vad) -> list[Window]:
    """Every clip as one, by name."""
    found = [(samples := read(path), spans_of(vad.probabilities(samples), len(samples))) for path in clips()]
    return [Window(start=0, samples=samples, speech=tuple(spans)) for samples, spans in found]


@pytest.fixture(scope="module")
def heard(whisper_recognizer: CTranslate2Recognizer, windows: list[Window]) -> list[Heard]:
    return hear(whisper_recognizer, windows)


@pytest.fixture(scope="module")
def heard_by_whispercpp(whispercpp_recognizer: Recognizer, windows: list[Window]) -> list[Heard]:
    return hear(whispercpp_recognizer, windows)


@pytest.mark.parametrize("runtime", ["heard", "heard_by_whispercpp"])
def test_words_begin_within_100_ms_of_a_forced_alignment_in_the_mean(
    request: pytest.FixtureRequest, runtime: str
):
    rows = zip(request.getfixturevalue(runtime), spoken_words(), strict=True)
    errors = np.array(
        [mine - theirs for said, spoken in rows for mine, theirs in paired(starts(said), spoken)]
    )
    assert len(errors) > 300  # of 381 words that are said: those that were heard right
    assert np.abs(errors).mean() <= 100
    assert abs(np.median(errors)) <= 30  # neither late nor early
    assert (np.abs(errors) <= 200).mean() >= 0.9


def test_both_runtimes_agree_on_when_words_are_spoken(heard: list[Heard], heard_by_whispercpp: list[Heard]):
    rows = zip(heard, heard_by_whispercpp, strict=True)
    apart = np.array(
        [mine - theirs for one, other in rows for mine, theirs in paired(starts(one), starts(other))]
    )
    assert len(apart) > 300
    assert (np.abs(apart) <= 500).mean() >= 0.97


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


def hear(recognizer: Recognizer, windows: list[Window]) -> list[Heard]:
    heard: list[Heard] = []
    for first in range(0, len(windows), recognizer.batch_windows):
        batch = windows[first : first + recognizer.batch_windows]
        heard += recognizer.recognize(batch, recognizer.prepare(batch), Asking())
    return heard


def spoken_words() -> list[Starts]:
    """Words and when they begin, clip by clip by name (tests/references/whisper_words.py)."""
    with WORDS.open() as file:
        rows = list(csv.reader(file, delimiter="\t"))
    return [[(word, int(start)) for name, start, _, word in rows if name == clip.stem] for clip in clips()]


def starts(heard: Heard) -> Starts:
    """Words in small letters without marks, and when they begin."""
    assert heard.words is not None
    assert "".join(word.text for word in heard.words) == heard.text
    return [(re.sub(r"[^a-z0-9']", "", word.text.lower()), word.start_ms) for word in heard.words]


def paired(some: Starts, others: Starts) -> list[tuple[int, int]]:
    """When the words that both have in common begin, in the one and in the other."""
    one, other = ([word for word, _ in each] for each in (some, others))
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return [(some[a + n][1], others[b + n][1]) for a, b, length in blocks for n in range(length)]
