"""Whisper tiny.en in real engines: what must hold for long recordings and for those who wait."""

import json
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import psutil
import pytest
from whisper_normalizer.english import EnglishTextNormalizer

from backends.transcription import TRANSCRIPTIONS, piece
from backends.types import (
    Delta,
    Done,
    Failed,
    Lane,
    Part,
    Segment,
    Source,
    TranscriptResult,
    decode_result,
    decode_segments,
)
from tests.backends.engine_driver import Driver, driving
from tests.fixtures.speech import clips, references, speech, write_wav
from tests.fixtures.whisper_tiny_en import whisper_spec

pytestmark = pytest.mark.slow
# What pywhispercpp hears in the clips, called directly (tests/references/whisper_cpp_texts.py).
WHISPER_CPP = Path(__file__).parents[2] / "data" / "whisper" / "whisper_cpp.tsv"
# Seconds of the long recording: whisper.cpp takes five times as long.
LONG = {"ctranslate2": 600, "whispercpp": 200}


@dataclass(frozen=True)
class Heard:
    """A long recording, its parts, and what an engine has answered to them, undisturbed."""

    recording: Source
    seconds: int
    parts: list[Part]
    answers: dict[int, Done | Failed]


@pytest.fixture(scope="module", params=LONG)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def driver(runtime: str, whisper_ggml_folder: Path) -> Iterator[Driver]:
    with driving(whisper_spec(), runtime, whisper_ggml_folder) as driver:
        driver.ready()
        yield driver


@pytest.fixture(scope="module")
def long(runtime: str, driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Heard:
    path = write_wav(tmp_path_factory.mktemp("long") / "long.wav", speech(LONG[runtime]))
    recording = source(path)
    parts = pieces(driver, recording)
    driver.compute(parts)
    return Heard(recording, LONG[runtime], parts, dict(driver.answers))


def whole(driver: Driver, source: Source, *, lane: Lane = Lane.BULK, **fields: object) -> Part:
    body = json.dumps({"file_id": "file-1", "model": "whisper-tiny.en", **fields}).encode()
    return Part(driver.new_key(), TRANSCRIPTIONS, piece(body, (source.blob, source.name)), lane, source)


def source(path: Path) -> Source:
    return Source(str(path), path.name, path.name)


def transcript(answer: Done | Failed) -> TranscriptResult:
    assert isinstance(answer, Done), answer
    result = decode_result(answer.data)
    assert isinstance(result, TranscriptResult)
    return result


def pieces(driver: Driver, recording: Source) -> list[Part]:
    """The parts of a long recording, as its first part has planned them."""
    (plan,) = driver.compute([whole(driver, recording, words=True)])
    assert isinstance(plan, Done)
    assert transcript(plan).total_ms == plan.foreseen
    return [Part(driver.new_key(), TRANSCRIPTIONS, body, Lane.BULK, recording) for body in plan.more]


def merged(parts: Sequence[Part], answers: Mapping[int, Done | Failed]) -> list[Segment]:
    return [segment for one in parts for segment in transcript(answers[one.key]).segments]


def words(segments: Sequence[Segment]) -> list[str]:
    return "".join(segment.text for segment in segments).split()


def word_error_rate(heard: Mapping[str, str]) -> float:
    """Of all clips, after Whisper's English normaliser; `heard` by the names of their files."""
    normal = EnglishTextNormalizer()
    spoken = references()
    return float(
        jiwer.wer([normal(spoken[name]) for name in heard], [normal(text) for text in heard.values()])
    )


def test_clips_are_understood_as_pywhispercpp_understands_them(driver: Driver) -> None:
    parts = [whole(driver, source(path)) for path in clips()]
    answers = [answer for at in range(0, len(parts), 6) for answer in driver.compute(parts[at : at + 6])]
    heard = {
        path.name: " ".join(words(transcript(answer).segments))
        for path, answer in zip(clips(), answers, strict=True)
    }
    theirs = dict(line.split("\t") for line in WHISPER_CPP.read_text().splitlines())
    assert len(theirs) == len(heard) == 29
    assert word_error_rate(heard) <= word_error_rate(theirs) + 0.02


def test_times_increase_and_lie_inside_the_recording(driver: Driver, long: Heard) -> None:
    assert len(long.parts) == -(-long.seconds // 120)
    previous = 0
    for segment in merged(long.parts, long.answers):
        assert previous <= segment.start_ms < segment.end_ms <= long.seconds * 1000
        previous = segment.end_ms
        times = [time for word in segment.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert "".join(word.text for word in segment.words) == segment.text


def test_segments_are_told_in_order_as_soon_as_they_are_final(driver: Driver, long: Heard) -> None:
    for one in long.parts:
        early = [event.data for event in driver.events if isinstance(event, Delta) and event.key == one.key]
        told = [segment for data in early for segment in decode_segments(data)]
        assert told == transcript(long.answers[one.key]).segments


def ask_while_busy(driver: Driver, long: Heard) -> tuple[Part, list[Part], float]:
    """A clip that is sent while the long recording, which somebody waits for too, is heard; the parts of
    that; and how many seconds the clip took."""
    parts = [
        Part(driver.new_key(), TRANSCRIPTIONS, one.body, Lane.INTERACTIVE, long.recording)
        for one in long.parts
    ]
    driver.engine.feed(parts)
    keys = {one.key for one in parts}
    driver.wait(lambda: any(isinstance(one, Delta) and one.key in keys for one in driver.events))
    clip = whole(driver, source(clips()[0]), lane=Lane.INTERACTIVE)
    began = time.monotonic()
    driver.engine.feed([clip])
    driver.wait(lambda: clip.key in driver.answers)
    return clip, parts, time.monotonic() - began


def test_a_clip_is_done_before_a_long_recording_that_somebody_waits_for_too(
    driver: Driver, long: Heard
) -> None:
    clip, parts, _ = ask_while_busy(driver, long)
    ahead = [one for one in parts if one.key in driver.answers]
    assert len(ahead) <= 1
    assert transcript(driver.answers[clip.key]).segments
    driver.wait(lambda: all(one.key in driver.answers for one in parts))


@pytest.mark.timing
def test_a_clip_takes_three_seconds_more_at_most_while_a_long_recording_is_heard(
    driver: Driver, long: Heard
) -> None:
    alone = whole(driver, source(clips()[0]), lane=Lane.INTERACTIVE)
    began = time.monotonic()
    driver.compute([alone])
    own = time.monotonic() - began
    _, parts, took = ask_while_busy(driver, long)
    driver.engine.cancel([one.key for one in parts])
    driver.wait(lambda: all(one.key in driver.answers for one in parts))
    assert took <= own + 3.0


def test_after_a_kill_only_unfinished_parts_are_computed_again_with_the_same_spans(
    runtime: str, long: Heard, whisper_ggml_folder: Path
) -> None:
    with driving(whisper_spec(), runtime, whisper_ggml_folder) as first:
        first.ready()
        first.engine.feed(long.parts)
        first.wait(lambda: bool(first.answers))
        psutil.Process(first.engine.pid).send_signal(signal.SIGKILL)
    done = {key: answer for key, answer in first.answers.items() if isinstance(answer, Done)}
    assert len(done) < len(long.parts)
    with driving(whisper_spec(), runtime, whisper_ggml_folder) as second:
        second.ready()
        second.compute([one for one in long.parts if one.key not in done])
        again = merged(long.parts, second.answers | done)
    undisturbed = merged(long.parts, long.answers)
    assert {one.seek_ms for one in again} == {one.seek_ms for one in undisturbed}
    assert jiwer.wer(" ".join(words(undisturbed)), " ".join(words(again))) <= 0.01
