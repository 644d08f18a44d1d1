"""Models that say one sentence, in real engines: damaged recordings, languages, and memory."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from backends.transcription import TRANSCRIPTIONS, TRANSLATIONS, piece
from backends.types import Done, Failed, Lane, Part, Source, TranscriptResult, decode_result
from tests.backends.engine_driver import Driver, driving
from tests.fixtures.broken_recordings import broken, whole_recordings
from tests.fixtures.speech import clips, speech, write_hours
from tests.fixtures.tiny_whisper import DETECTED, SENTENCE, with_detector, write_tiny_whisper

REFUSALS = {"invalid_audio", "no_audio_stream", "empty_audio", "encrypted_audio"}
MOST_MB = 150


@pytest.fixture(scope="module")
def driver(vad_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """An engine with a model of English alone."""
    folder = tmp_path_factory.mktemp("english")
    spec = with_detector(write_tiny_whisper(folder), folder, vad_file)
    with driving(spec, "ctranslate2", folder) as driver:
        driver.ready()
        yield driver


@pytest.fixture(scope="module")
def multilingual(vad_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    folder = tmp_path_factory.mktemp("multilingual")
    spec = with_detector(write_tiny_whisper(folder, multilingual=True), folder, vad_file)
    with driving(spec, "ctranslate2", folder) as driver:
        driver.ready()
        yield driver


def part(driver: Driver, path: Path, *, endpoint: str = TRANSCRIPTIONS, **fields: object) -> Part:
    body = json.dumps({"file_id": "file-1", "model": "tiny-whisper", **fields}).encode()
    source = Source(str(path), path.name, path.name)
    return Part(driver.new_key(), endpoint, piece(body, (source.blob, source.name)), Lane.BULK, source)


def transcript(answer: Done | Failed) -> TranscriptResult:
    assert isinstance(answer, Done), answer
    result = decode_result(answer.data)
    assert isinstance(result, TranscriptResult)
    return result


def said(result: TranscriptResult) -> str:
    return "".join(segment.text for segment in result.segments)


def test_every_kind_of_recording_is_heard(driver: Driver, tmp_path: Path) -> None:
    paths = []
    for number, data in enumerate(whole_recordings(tmp_path, speech(6), rate=16_000)[:-1]):
        paths.append(tmp_path / str(number))  # kinds are told by content, not by name
        paths[-1].write_bytes(data)
    for answer in driver.compute([part(driver, path) for path in paths]):
        result = transcript(answer)
        assert SENTENCE in said(result)
        assert result.warnings == []
        assert result.total_ms == pytest.approx(6000, abs=100)


def test_two_hundred_damaged_recordings_are_answered_and_the_engine_lives(
    driver: Driver, tmp_path: Path
) -> None:
    whole = whole_recordings(tmp_path, speech(6), rate=16_000)
    paths = [tmp_path / f"broken-{seed}" for seed in range(200)]
    for seed, path in enumerate(paths):
        path.write_bytes(broken(whole, seed))
    answers = driver.compute([part(driver, path) for path in paths])
    codes = Counter(one.error.code for one in answers if isinstance(one, Failed))
    assert set(codes) <= REFUSALS
    heard = [transcript(one) for one in answers if isinstance(one, Done)]
    assert len(heard) > 50
    assert sum(bool(result.warnings) for result in heard) > 20
    (answer,) = driver.compute([part(driver, clips()[0])])
    assert SENTENCE in said(transcript(answer))


def test_a_model_of_english_alone_says_what_it_cannot_do(driver: Driver) -> None:
    parts = [
        part(driver, clips()[0], language="de"),
        part(driver, clips()[0], endpoint=TRANSLATIONS),
        part(driver, clips()[0], language="en"),
    ]
    spoken, translated, heard = driver.compute(parts)
    assert isinstance(spoken, Failed)
    assert (spoken.error.code, spoken.error.param) == ("unsupported_language", "language")
    assert isinstance(translated, Failed)
    assert translated.error.code == "translation_not_supported"
    assert transcript(heard).language == "en"


def test_a_model_of_several_languages_finds_out_which_or_is_told_and_translates(
    multilingual: Driver,
) -> None:
    parts = [
        part(multilingual, clips()[0]),
        part(multilingual, clips()[0], language="es"),
        part(multilingual, clips()[0], endpoint=TRANSLATIONS, language="zh"),
        part(multilingual, clips()[0], language="xx"),
    ]
    *heard, unknown = multilingual.compute(parts)
    assert [transcript(one).language for one in heard] == [DETECTED, "es", "zh"]
    assert all(SENTENCE in said(transcript(one)) for one in heard)
    assert isinstance(unknown, Failed)
    assert unknown.error.code == "unsupported_language"


@pytest.fixture
def believed(vad_file: Path, tmp_path: Path) -> Iterator[Driver]:
    """An engine whose windows are short enough for the sentence to be believed: nothing is heard again."""
    spec = with_detector(write_tiny_whisper(tmp_path / "model"), tmp_path / "model", vad_file)
    spec = spec.model_copy(update={"options": {"window_seconds": 5}})
    with driving(spec, "ctranslate2", tmp_path / "model") as driver:
        driver.ready()
        yield driver


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_recording(believed: Driver, tmp_path: Path) -> None:
    driver = believed
    process = psutil.Process(driver.engine.pid)

    def most_mb(seconds: int) -> float:
        """The most that the engine held while it heard a recording of so many seconds."""
        path = write_hours(tmp_path / "long.wav", seconds)
        (plan,) = driver.compute([part(driver, path)])
        assert isinstance(plan, Done)
        source = Source(str(path), path.name, path.name)
        parts = [Part(driver.new_key(), TRANSCRIPTIONS, body, Lane.BULK, source) for body in plan.more]
        most, left = 0.0, list(parts)

        def all_answered() -> bool:
            nonlocal most
            driver.feed_room(left)
            most = max(most, process.memory_info().rss / 2**20)
            return all(one.key in driver.answers for one in parts)

        driver.wait(all_answered, seconds=900)
        assert sum(driver.answers[one.key].units for one in parts) == plan.foreseen == seconds * 1000  # type: ignore[union-attr]
        path.unlink()
        return most

    short = most_mb(600)
    assert most_mb(3 * 3600) - short < MOST_MB
