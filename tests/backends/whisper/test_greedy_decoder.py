"""Our decoder, against CTranslate2's in float32 on real speech; a window's company makes no difference."""

import json
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.whisper.ct2_decoder import Decoded, Decoder, open_model
from backends.whisper.ct2_recognizer import CTranslate2Recognizer
from backends.whisper.greedy_decoder import GreedyDecoder, most_probable
from backends.whisper.tokens import Vocabulary
from backends.whisper.weights import Array, Weights
from backends.whisper.window import Window
from tests.fixtures.recordings import read
from tests.fixtures.speech import clips
from tests.fixtures.tiny_whisper import Tokens, write_tiny_whisper

MOST = 60
HEADS = [(0, 0), (1, 1)]
PROMPT = [50257, 50362]  # of an English model: start, no times
TOKENS = Tokens(multilingual=False)
OPENING = [TOKENS.special["startoftranscript"], TOKENS.special["notimestamps"]]


@pytest.fixture(scope="module")
def decoder(whisper_recognizer: CTranslate2Recognizer, whisper_folder: Path) -> GreedyDecoder:
    vocabulary = whisper_recognizer.vocabulary
    return GreedyDecoder.load(Weights.read(whisper_folder), vocabulary, HEADS, whisper_folder, 1)


@pytest.fixture(scope="module")
def states(whisper_recognizer: CTranslate2Recognizer) -> list[Array]:
    """Of the first 12 clips, 400 to 700 positions long."""
    windows = [Window(start=0, samples=read(path), speech=()) for path in clips()[:12]]
    return [whisper_recognizer.prepare([window])[0] for window in windows]


def written(decoder: GreedyDecoder, states: Sequence[Array], most: int = MOST) -> list[Decoded]:
    positions = list(map(len, states))
    rows = np.zeros((len(states), max(positions), states[0].shape[1]), np.float32)
    for row, each in zip(rows, states, strict=True):
        row[: len(each)] = each
    return decoder.decode(rows, positions, [PROMPT] * len(states), [most] * len(states))


@pytest.mark.slow
def test_texts_and_probabilities_are_those_of_ctranslate2(
    decoder: GreedyDecoder, states: list[Array], whisper_folder: Path
):
    exact = Decoder(open_model(whisper_folder, 1, "float32"), beam_size=1)
    same = alike = 0
    for ours, each in zip(written(decoder, states), states, strict=True):
        (theirs,) = exact.decode(each[None], [PROMPT], most=MOST, temperature=0, logprobs=True)
        assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=0.05)
        blocks = SequenceMatcher(None, ours.tokens, theirs.tokens, autojunk=False).get_matching_blocks()
        alike += sum(block.size for block in blocks) / len(theirs.tokens)
        if ours.tokens == theirs.tokens:
            same += 1
            assert ours.logprob == pytest.approx(theirs.logprob, abs=1.0)
            assert ours.token_logprobs == pytest.approx(theirs.token_logprobs, abs=0.35)
    # int8 weights choose another word here and there: CTranslate2's leave 29 of 40 clips the same, ours 28
    assert same >= 6
    assert alike / len(states) > 0.9


@pytest.mark.slow
def test_a_window_is_heard_the_same_in_any_company_and_again(decoder: GreedyDecoder, states: list[Array]):
    together = written(decoder, states)
    again = written(decoder, states[::-1])[::-1]
    alone = [written(decoder, [each])[0] for each in states]
    assert [row.tokens for row in again] == [row.tokens for row in together]
    assert sum(one.tokens == other.tokens for one, other in zip(alone, together, strict=True)) >= 11
    assert [row.logprob for row in again] == pytest.approx([row.logprob for row in together], abs=0.05)


@pytest.mark.slow
def test_what_lies_behind_a_window_is_not_seen(decoder: GreedyDecoder, states: list[Array]):
    each = states[0]
    beyond = np.concatenate([each, 100 * np.ones((200, each.shape[1]), np.float32)])[None]
    (clean,) = written(decoder, [each])
    (dirty,) = decoder.decode(beyond, [len(each)], [PROMPT], [MOST])
    assert dirty.tokens == clean.tokens
    assert dirty.logprob == pytest.approx(clean.logprob, abs=0.05)


@pytest.mark.slow
def test_each_row_ends_at_its_own_cap(decoder: GreedyDecoder, states: list[Array]):
    rows = np.stack([states[0][:400]] * 3)
    found = decoder.decode(rows, [400] * 3, [PROMPT] * 3, [2, 5, MOST])
    assert [len(row.tokens) for row in found[:2]] == [2, 5]
    assert found[2].tokens[:5] == found[1].tokens
    assert found[1].tokens[:2] == found[0].tokens
    assert len(found[2].tokens) < MOST


def test_suppressed_tokens_are_never_written(tmp_path: Path):
    write_tiny_whisper(tmp_path)
    spoken = TOKENS.spoken
    whole, kept = _tiny(tmp_path, never=[]), _tiny(tmp_path, never=[spoken[1]])
    silence = np.zeros((1, 400, 32), np.float32)
    assert whole.decode(silence, [400], [OPENING], [20])[0].tokens == spoken
    found = kept.decode(silence, [400], [OPENING], [20])[0].tokens
    assert spoken[1] not in found
    assert found[0] == spoken[0]


def test_a_text_does_not_begin_with_what_none_begins_with(tmp_path: Path):
    write_tiny_whisper(tmp_path)
    spoken = TOKENS.spoken
    found = _tiny(tmp_path, never=[], not_first=[spoken[0]]).decode(
        np.zeros((1, 400, 32), np.float32), [400], [OPENING], [20]
    )
    assert found[0].tokens[0] != spoken[0]
    assert found[0].tokens[1:] == spoken[1:]


def _tiny(folder: Path, *, never: list[int], not_first: list[int] | None = None) -> GreedyDecoder:
    (folder / "config.json").write_text(
        f'{{"suppress_ids": {[-1, *never]}, "suppress_ids_begin": {not_first or []}}}'
    )
    return GreedyDecoder.load(Weights.read(folder), Vocabulary.read(folder), HEADS, folder, 1)


@pytest.mark.parametrize("tokens", [[10**9], ["a"], "all", {"1": 2}])
def test_suppressed_tokens_that_the_model_does_not_have_are_refused(tmp_path: Path, tokens: object):
    write_tiny_whisper(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"suppress_ids": [-1], "suppress_ids_begin": tokens}))
    with pytest.raises(LoadFailed, match="suppress_ids_begin must list tokens"):
        GreedyDecoder.load(Weights.read(tmp_path), Vocabulary.read(tmp_path), HEADS, tmp_path, 1)


def test_of_equals_the_first_is_taken_with_its_probability():
    logits = np.array([[0.0, 2.0, 2.0], [5.0, -1e30, -1e30]], np.float32)
    tokens, logprobs = most_probable(logits)
    assert tokens.tolist() == [1, 0]
    assert logprobs.tolist() == pytest.approx([-np.log(2 + np.exp(-2)), 0.0], abs=1e-6)
