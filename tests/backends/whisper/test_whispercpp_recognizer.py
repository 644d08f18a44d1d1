"""The whispercpp recognizer: what it hears, what it refuses, and that no call depends on an earlier one."""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from backends.errors import InvalidBody, LoadFailed
from backends.importers import whisper_ggml
from backends.whisper.mel import LONGEST, log_mel
from backends.whisper.recognizer import Recognizer
from backends.whisper.whispercpp import WhisperCppBackend
from backends.whisper.window import RATE, Asking, Heard, Samples, Span, Window
from configs.models import ModelFile, ModelSpec
from tests.fixtures.recordings import read
from tests.fixtures.speech import clips
from tests.fixtures.tiny_whisper import DETECTED, SENTENCE, WORDS, Tokens, write_tiny_whisper

START = 50257  # of a transcript, in English models


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recognizer]:
    yield from opened(tmp_path_factory.mktemp("english"), multilingual=False)


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recognizer]:
    yield from opened(tmp_path_factory.mktemp("multilingual"), multilingual=True)


def opened(folder: Path, *, multilingual: bool) -> Iterator[Recognizer]:
    spec = write_tiny_whisper(folder, multilingual=multilingual)
    whisper_ggml.convert(folder, folder / "ggml.bin")
    recognizer = WhisperCppBackend.open_recognizer(spec, folder, 1)
    yield recognizer
    recognizer.close()


def window(samples: Samples, start: int = 0) -> Window:
    return Window(start=start, samples=samples, speech=(Span(start, start + len(samples)),))


def noise(seconds: float, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


def hear(
    recognizer: Recognizer, samples: Samples, asking: Asking | None = None, *, full: bool = False
) -> Heard:
    one = window(samples)
    [heard] = recognizer.recognize([one], recognizer.prepare([one], full=full), asking or Asking())
    return heard


@pytest.mark.parametrize("kind", ["english", "multilingual"])
def test_a_window_is_heard_with_all_that_is_told_of_it(request: pytest.FixtureRequest, kind: str):
    recognizer = request.getfixturevalue(kind)
    heard = hear(recognizer, noise(3), Asking(logprobs=True))

    assert heard.text == SENTENCE
    assert heard.tokens == Tokens(multilingual=kind == "multilingual").spoken
    assert heard.language == ("en" if kind == "english" else DETECTED)
    assert heard.token_ends == list(accumulate(map(len, WORDS)))
    assert heard.token_logprobs is not None
    assert heard.avg_logprob == pytest.approx(np.sum(heard.token_logprobs) / (len(WORDS) + 1), abs=0.01)
    assert heard.words is not None
    assert "".join(word.text for word in heard.words) == SENTENCE
    assert (heard.temperature, heard.capped) == (0.0, False)


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.9, 1.0, 14.99, 29.99])
def test_windows_of_any_length_are_heard(english: Recognizer, seconds: float):
    assert hear(english, noise(seconds)).text == SENTENCE
    assert hear(english, noise(seconds), full=True).text == SENTENCE


def test_windows_come_back_in_their_order_with_times_of_their_own(english: Recognizer):
    windows = [window(noise(2), start) for start in (5 * RATE, 90 * RATE)]
    first, second = english.recognize(windows, english.prepare(windows), Asking())
    for heard, start_ms in ((first, 5000), (second, 90_000)):
        assert heard.words is not None
        times = [time for word in heard.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert start_ms <= times[0]
        assert times[-1] <= start_ms + 2000


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused_before_the_library_sees_them(
    english: Recognizer, bad: float
):
    samples = noise(2)
    samples[700] = bad
    with pytest.raises(InvalidBody) as caught:
        english.prepare([window(samples)])
    assert caught.value.code == "invalid_audio"


@pytest.mark.parametrize(
    "samples",
    [noise(2).astype(np.float64), np.zeros((2, RATE), np.float32), noise(31), noise(2).astype(np.int16)],
)
def test_samples_of_another_form_are_refused(english: Recognizer, samples: Samples):
    with pytest.raises(ValueError, match="float32"):
        english.prepare([window(samples)])


def test_a_view_with_strides_is_heard_as_what_it_shows(whispercpp_recognizer: Recognizer, spoken: Samples):
    interleaved = np.stack([spoken, noise(len(spoken) / RATE)], axis=1)
    assert not interleaved[:, 0].flags.c_contiguous
    assert hear(whispercpp_recognizer, interleaved[:, 0]) == hear(whispercpp_recognizer, spoken)


def test_languages_are_those_of_the_model(english: Recognizer, multilingual: Recognizer):
    for code in ("en", "de", "yo", None):
        multilingual.check(Asking(language=code))
    for recognizer, code in ((multilingual, "xx"), (multilingual, "yue"), (english, "de")):
        with pytest.raises(InvalidBody) as caught:
            recognizer.check(Asking(language=code))
        assert (caught.value.code, caught.value.param) == ("unsupported_language", "language")
    english.check(Asking(language="en"))
    assert hear(multilingual, noise(2), Asking(language="es")).language == "es"


def test_only_a_multilingual_model_translates(english: Recognizer, multilingual: Recognizer):
    multilingual.check(Asking(task="translate"))
    assert hear(multilingual, noise(2), Asking(task="translate")).text == SENTENCE
    with pytest.raises(InvalidBody) as caught:
        english.check(Asking(task="translate"))
    assert caught.value.code == "translation_not_supported"


def test_a_text_stops_at_the_cap_and_says_so(english: Recognizer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("backends.whisper.token_cap.PER_SECOND", 0)
    monkeypatch.setattr("backends.whisper.token_cap.MORE", 2)
    heard = hear(english, noise(2))
    assert heard.capped
    assert 0 < len(heard.tokens) < 6
    assert SENTENCE.startswith(heard.text)


@pytest.mark.parametrize("times", [1, 40, 2000])
def test_a_prompt_of_any_length_is_told(whispercpp_recognizer: Recognizer, spoken: Samples, times: int):
    """Beyond 1,024 tokens whisper.cpp would write on without capitals and marks."""
    heard = hear(whispercpp_recognizer, spoken, Asking(prompt="She sat at Ångström's, and sang. " * times))
    assert heard.text.strip()[0].isupper()
    assert heard.text.endswith(".")


def test_a_prompt_changes_what_is_heard(whispercpp_recognizer: Recognizer, spoken: Samples):
    plain = hear(whispercpp_recognizer, spoken)
    told = hear(whispercpp_recognizer, spoken, Asking(prompt="Margaret Hale of Helstone"))
    assert told.avg_logprob != plain.avg_logprob


def test_no_call_depends_on_an_earlier_one(whispercpp_recognizer: Recognizer, spoken: Samples):
    """Parameters are sticky in the binding, and flash attention would see what longer windows left behind."""
    first = hear(whispercpp_recognizer, spoken)
    asking = Asking(prompt="QUEUE, SLOT, ENGINE.", temperature=0.8)
    hear(whispercpp_recognizer, noise(3, seed=3), asking, full=True)
    hear(whispercpp_recognizer, np.resize(spoken, 14 * RATE), asking)
    assert hear(whispercpp_recognizer, spoken) == first


@pytest.mark.slow
def test_it_computes_what_ctranslate2_computes_of_the_same_weights(
    whispercpp_recognizer: Recognizer, whisper_folder: Path
):
    """An independent program, in float32: it writes the same texts, token by token."""
    model = ctranslate2.models.Whisper(str(whisper_folder), compute_type="float32", intra_threads=1)
    same = 0
    for path in clips()[:5]:
        samples = read(path)
        mel = ctranslate2.StorageView.from_array(log_mel(samples, LONGEST, 80)[None])
        [theirs] = model.generate(mel, [[START]], beam_size=1, max_initial_timestamp_index=50)
        written = [token for token in theirs.sequences_ids[0] if token < START - 1]
        same += hear(whispercpp_recognizer, samples, full=True).tokens == written
    assert same >= 4  # float16 decides otherwise where two tokens are about as likely


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no file for the whispercpp runtime"), (b"garbage", "ggml.bin, byte 4"), (b"", "ggml.bin")],
)
def test_a_folder_without_a_sound_model_is_refused(tmp_path: Path, content: bytes | None, said: str):
    """whisper.cpp would end the process."""
    if content is not None:
        (tmp_path / "ggml.bin").write_bytes(content)
    with pytest.raises(LoadFailed, match=said):
        WhisperCppBackend.open_recognizer(ModelSpec(name="none", family="whisper"), tmp_path, 1)


def test_of_several_files_the_option_names_one(tmp_path: Path):
    paths = ("one-ggml.bin", "two-ggml.bin")
    files = tuple(ModelFile(path=path, source=f"file:{path}") for path in paths)
    for path in paths:
        (tmp_path / path).write_bytes(b"garbage")
    for options, named in (({}, "one-ggml"), ({"ggml": "two-ggml.bin"}, "two-ggml")):
        spec = ModelSpec(name="two", family="whisper", files=files, options=options)
        with pytest.raises(LoadFailed, match=named):
            WhisperCppBackend.open_recognizer(spec, tmp_path, 1)


@pytest.fixture(scope="module")
def spoken() -> Samples:
    return read(clips()[0])
