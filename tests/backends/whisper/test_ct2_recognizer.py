"""The fast runtime's recognizer, on models that say one sentence: what is heard, and what is refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.errors import InvalidBody, LoadFailed
from backends.whisper.ct2_recognizer import CTranslate2Recognizer
from backends.whisper.ctranslate2 import CTranslate2Backend
from backends.whisper.window import RATE, Asking, Span, Window
from configs.models import ModelSpec
from tests.fixtures.tiny_whisper import DETECTED, SENTENCE, write_tiny_whisper


def open_recognizer(folder: Path, *, multilingual: bool = False, **options: object) -> CTranslate2Recognizer:
    spec = write_tiny_whisper(folder, multilingual=multilingual)
    spec = ModelSpec(name=spec.name, family="whisper", options=options)
    return CTranslate2Backend.open_recognizer(spec, folder, 1)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CTranslate2Recognizer]:
    recognizer = open_recognizer(tmp_path_factory.mktemp("english"))
    yield recognizer
    recognizer.close()


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CTranslate2Recognizer]:
    recognizer = open_recognizer(tmp_path_factory.mktemp("multilingual"), multilingual=True)
    yield recognizer
    recognizer.close()


def window(seconds: float, start: int = 0) -> Window:
    count = int(seconds * RATE)
    samples = np.random.default_rng(3).normal(0, 0.1, count).astype(np.float32)
    return Window(start=start, samples=samples, speech=(Span(start, start + count),))


def test_windows_of_any_lengths_are_heard_together(english: CTranslate2Recognizer):
    windows = [window(seconds) for seconds in (0.05, 3, 14.9, 29.9)]
    prepared = [english.prepare([each])[0] for each in windows]
    for heard in english.recognize(windows, prepared, Asking()):
        assert heard.text == SENTENCE
        assert heard.language == "en"
        assert not heard.capped
        assert -0.1 < heard.avg_logprob <= 0
        assert heard.token_ends[-1] == len(SENTENCE)
        assert heard.token_logprobs is None


def test_a_window_is_followed_by_silence_and_never_shorter_than_8_seconds(english: CTranslate2Recognizer):
    assert len(english.prepare([window(2)])[0]) == 8 * 50
    assert len(english.prepare([window(10)])[0]) == 12 * 50
    assert len(english.prepare([window(29)])[0]) == 30 * 50
    assert len(english.prepare([window(2)], full=True)[0]) == 30 * 50


def test_words_lie_inside_their_window(english: CTranslate2Recognizer):
    windows = [window(4, start=160_000)]
    (heard,) = english.recognize(windows, english.prepare(windows), Asking())
    assert heard.words is not None
    assert "".join(word.text for word in heard.words) == SENTENCE
    assert all(10_000 <= word.start_ms <= word.end_ms <= 14_000 for word in heard.words)


def test_probabilities_of_tokens_are_given_where_asked(english: CTranslate2Recognizer):
    windows = [window(4)] * 2
    for heard in english.recognize(windows, english.prepare(windows), Asking(logprobs=True)):
        assert heard.token_logprobs is not None
        assert len(heard.token_logprobs) == len(heard.tokens)
        assert all(-0.1 < logprob <= 0 for logprob in heard.token_logprobs)


@pytest.mark.parametrize("temperature", [0.4, 1.0])
def test_sampling_gives_texts_too(english: CTranslate2Recognizer, temperature: float):
    windows = [window(4)]
    (heard,) = english.recognize(windows, english.prepare(windows), Asking(temperature=temperature))
    assert heard.text == SENTENCE
    assert heard.temperature == temperature


def test_beams_give_texts_too(tmp_path: Path):
    recognizer = open_recognizer(tmp_path, beam_size=5)
    windows = [window(4)] * 3
    heard = recognizer.recognize(windows, recognizer.prepare(windows), Asking())
    assert [each.text for each in heard] == [SENTENCE] * 3


def test_a_text_that_does_not_end_is_capped_at_eight_tokens_a_second_and_twelve(
    english: CTranslate2Recognizer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("backends.whisper.token_cap.MORE", -5)  # room for 3, the sentence has 6
    windows = [window(1)]
    (heard,) = english.recognize(windows, english.prepare(windows), Asking())
    assert len(heard.tokens) == 3
    assert heard.capped


def test_other_languages_have_room_for_more_tokens(
    multilingual: CTranslate2Recognizer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("backends.whisper.token_cap.MORE", -5)
    windows = [window(1)] * 2
    prepared = multilingual.prepare(windows)
    for language, said in (("en", 3), ("zh", len(SENTENCE.split()))):
        for heard in multilingual.recognize(windows, prepared, Asking(language=language)):
            assert len(heard.tokens) == said
            assert heard.capped == (said == 3)


def test_a_long_prompt_leaves_room_for_the_text(english: CTranslate2Recognizer):
    """The sentence is in the positions right behind the opening: with a prompt before it, it ends at once."""
    windows = [window(20)]
    (heard,) = english.recognize(windows, english.prepare(windows), Asking(prompt="Mozart " * 300))
    assert heard.tokens == []
    assert heard.text == ""
    assert heard.words == []


def test_a_language_is_detected_unless_it_is_asked_for(multilingual: CTranslate2Recognizer):
    windows = [window(3), window(9)]
    prepared = multilingual.prepare(windows)
    detected = multilingual.recognize(windows, prepared, Asking())
    assert [each.language for each in detected] == [DETECTED] * 2
    asked = multilingual.recognize(windows, prepared, Asking(language="zh", task="translate"))
    assert [each.language for each in asked] == ["zh"] * 2
    assert {each.text for each in (*detected, *asked)} == {SENTENCE}


def test_an_english_model_refuses_other_languages_and_translating(english: CTranslate2Recognizer):
    english.check(Asking(language="en"))
    with pytest.raises(InvalidBody, match="'de'") as refused:
        english.check(Asking(language="de"))
    assert (refused.value.code, refused.value.param) == ("unsupported_language", "language")
    with pytest.raises(InvalidBody) as refused:
        english.check(Asking(task="translate"))
    assert refused.value.code == "translation_not_supported"


def test_a_multilingual_model_refuses_what_is_no_language(multilingual: CTranslate2Recognizer):
    multilingual.check(Asking(language="zh", task="translate"))
    for code in ("translate", "xx", ""):
        with pytest.raises(InvalidBody, match="the model does not know"):
            multilingual.check(replace(Asking(), language=code))


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "vocabulary.json"])
def test_a_folder_that_lacks_a_file_is_refused_by_its_name(tmp_path: Path, name: str):
    spec = write_tiny_whisper(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(LoadFailed, match="vocabulary|" + name):
        CTranslate2Backend.open_recognizer(spec, tmp_path, 1)


def test_the_decoder_in_float32_gives_the_same(tmp_path: Path):
    recognizer = open_recognizer(tmp_path, compute_type="float32", precision="ctranslate2")
    windows = [window(4)]
    (heard,) = recognizer.recognize(windows, recognizer.prepare(windows), Asking())
    assert heard.text == SENTENCE
    assert recognizer.precision == "ctranslate2"
