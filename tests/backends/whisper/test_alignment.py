"""Word times come out in order and inside their window, whatever the decoder looked at."""

import json
from pathlib import Path

import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.types import Word
from backends.whisper.alignment import Aligner, alignment_heads, standard
from backends.whisper.spelling import text_of, token_ends
from backends.whisper.tokens import Vocabulary
from backends.whisper.weights import Weights
from backends.whisper.window import RATE, Heard, Span, Window
from tests.fixtures.tiny_whisper import SENTENCE, Tokens, write_tiny_whisper


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    write_tiny_whisper(folder)
    return folder


@pytest.fixture(scope="module")
def aligner(folder: Path) -> Aligner:
    return Aligner.load(Weights.read(folder), Vocabulary.read(folder).end, folder, threads=1)


def test_words_spell_the_text_with_times_in_order_inside_the_window(folder: Path, aligner: Aligner):
    windows = [window(7.0, seconds=3.0), window(31.5, seconds=0.5), window(90.0, seconds=14.8)]
    heard = [said(folder), said(folder), said(folder)]
    for place, words in zip(windows, align(folder, aligner, windows, heard), strict=True):
        assert "".join(word.text for word in words) == SENTENCE
        edges = [edge for word in words for edge in (word.start_ms, word.end_ms)]
        assert edges == sorted(edges)
        assert place.start / 16 <= edges[0]
        assert edges[-1] <= place.end / 16
        assert all(word.start_ms < word.end_ms for word in words)


def test_a_window_without_text_has_no_words(folder: Path, aligner: Aligner):
    windows = [window(0.0, seconds=2.0), window(2.0, seconds=2.0)]
    silent, spoken = align(folder, aligner, windows, [said(folder, times=0), said(folder)])
    assert silent == []
    assert len(spoken) == len(SENTENCE.split())


def test_heads_are_those_that_the_config_names(folder: Path):
    assert alignment_heads(folder, Weights.read(folder).shape) == [(0, 0), (1, 1)]


def test_without_named_heads_all_of_the_later_layers_are_taken(folder: Path, tmp_path: Path):
    assert alignment_heads(tmp_path, Weights.read(folder).shape) == [(1, 0), (1, 1)]


@pytest.mark.parametrize("heads", [[], [[0, 2]], [[2, 0]], [[-1, 0]], [[0]], "all", [["0", 1]]])
def test_heads_that_the_model_does_not_have_are_refused(folder: Path, tmp_path: Path, heads: object):
    (tmp_path / "config.json").write_text(json.dumps({"alignment_heads": heads}))
    with pytest.raises(LoadFailed, match="alignment_heads"):
        alignment_heads(tmp_path, Weights.read(folder).shape)


def align(folder: Path, aligner: Aligner, windows: list[Window], heard: list[Heard]) -> list[list[Word]]:
    """As over an encoder that made noise, the same for the same window."""
    weights, vocabulary = Weights.read(folder), Vocabulary.read(folder)
    positions = max(len(place.samples) for place in windows) // 320 + 100
    states = np.zeros((len(windows), positions, weights.shape.hidden), np.float32)
    for line, place in zip(states, windows, strict=True):
        line[:] = 1
        frames = -(-len(place.samples) // 320)
        line[:frames] = np.random.default_rng(place.start).standard_normal((frames, weights.shape.hidden))
    return aligner.align(windows, states, heard, [vocabulary.opening(None, "transcribe")] * len(windows))


def window(start: float, *, seconds: float) -> Window:
    """A second of it is quiet, if it has as many."""
    samples = np.random.default_rng(3).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
    samples[RATE : 2 * RATE] *= 0.001
    first = int(start * RATE)
    return Window(start=first, samples=samples, speech=(Span(first, first + len(samples)),))


def said(folder: Path, *, times: int = 1) -> Heard:
    """The tiny model's sentence, so often."""
    tokens = Tokens(multilingual=False).spoken * times
    pieces = Vocabulary.read(folder).pieces(tokens)
    return Heard(
        text=text_of(pieces),
        tokens=tokens,
        token_ends=token_ends(pieces),
        avg_logprob=-0.1,
        no_speech_prob=0.0,
        temperature=0.0,
        compression_ratio=1.0,
    )


def test_what_was_looked_at_behind_the_end_of_a_window_counts_for_nothing():
    dice = np.random.default_rng(5)
    seen = dice.random((3, 6, 40), np.float32)
    other = seen.copy()
    other[:, :, 25:] = dice.random((3, 6, 15), np.float32)
    found = standard(seen, 25)
    assert found.shape == (6, 25)
    np.testing.assert_allclose(found, standard(other, 25), atol=1e-6)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    assert np.isfinite(standard(np.zeros((2, 3, 10), np.float32), 10)).all()
