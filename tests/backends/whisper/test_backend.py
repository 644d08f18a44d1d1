"""The run loop over a recognizer of tones: short and long recordings, channels, order, what is heard again,
and parts that fail alone."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from backends.transcription import TRANSCRIPTIONS
from backends.types import (
    Delta,
    Done,
    Event,
    Failed,
    Lane,
    Part,
    Segment,
    Source,
    Started,
    TranscriptResult,
    decode_result,
    decode_segments,
)
from backends.whisper.backend import WhisperBackend
from backends.whisper.recognizer import Recognizer
from backends.whisper.window import RATE, Asking, Heard, Samples, Window
from configs.models import ModelSpec
from tests.backends.listed_feed import ListedFeed, answers, codes
from tests.backends.whisper.tones import (
    LoudnessDetector,
    ToneRecognizer,
    heard,
    silence,
    spoken,
    text_of,
    tone,
    words_in,
)
from tests.fixtures.speech import write_wav

SPEC = ModelSpec(name="tones", family="whisper")
WORDS = [3, 5, 7, 9, 11, 4, 6, 8, 10, 12, 13, 14, 15, 16, 17]


class TonesBackend(WhisperBackend):
    @classmethod
    def open_recognizer(cls, spec: ModelSpec, folder: Path, threads: int) -> Recognizer:
        raise NotImplementedError


def backend(recognizer: ToneRecognizer | None = None) -> WhisperBackend:
    return TonesBackend(SPEC, recognizer or ToneRecognizer(), LoudnessDetector())  # type: ignore[arg-type]


def part(key: int, path: Path, *, lane: Lane = Lane.BULK, **fields: object) -> Part:
    body = json.dumps([["blob", path.name], None, {"model": "tones", **fields}]).encode()
    return Part(key, TRANSCRIPTIONS, body, lane, Source(str(path), "blob", path.name))


def run(subject: WhisperBackend, parts: Sequence[Part]) -> list[Event]:
    return list(subject.run(ListedFeed(parts)))


def transcript(answer: Done | Failed) -> TranscriptResult:
    assert isinstance(answer, Done), answer
    result = decode_result(answer.data)
    assert isinstance(result, TranscriptResult)
    return result


def text(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def heard_in(path: Path, **fields: object) -> TranscriptResult:
    return transcript(answers(run(backend(), [part(1, path, **fields)]))[1])


def long_samples(seconds: float, *, seed: int = 1) -> tuple[Samples, list[int]]:
    """Words and pauses at random."""
    dice = np.random.default_rng(seed)
    pitches: list[int] = []
    parts: list[Samples] = []
    while sum(map(len, parts)) < seconds * RATE:
        pitches.append(int(dice.integers(3, 60)))
        parts += [tone(pitches[-1]), silence(float(dice.choice([0.3, 0.4, 1.5], p=[0.6, 0.3, 0.1])))]
    return np.concatenate(parts), pitches


def test_a_short_recording_is_heard_in_one_part(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", spoken(WORDS))
    (answer,) = answers(run(backend(), [part(1, path)])).values()
    result = transcript(answer)
    assert text(result.segments) == text_of(WORDS)
    length = round(1000 * len(spoken(WORDS)) / RATE)
    assert (result.start_ms, result.end_ms, result.total_ms) == (0, length, length)
    assert (result.language, result.warnings) == ("en", [])
    assert isinstance(answer, Done)
    assert (answer.units, answer.more, answer.foreseen) == (length, [], 0)


def test_a_part_starts_once_before_it_is_opened_and_tells_its_segments_in_order(tmp_path: Path) -> None:
    paths = [write_wav(tmp_path / f"{n}.wav", spoken(WORDS[n:] * 3)) for n in range(3)]
    events = run(backend(), [part(n, path) for n, path in enumerate(paths)])
    started = [key for event in events if isinstance(event, Started) for key in event.keys]
    assert sorted(started) == [0, 1, 2]
    for key in range(3):
        early = [
            one
            for event in events
            if isinstance(event, Delta) and event.key == key
            for one in decode_segments(event.data)
        ]
        assert early == transcript(answers(events)[key]).segments
        assert [one.start_ms for one in early] == sorted(one.start_ms for one in early)
        assert text(early) == text_of(WORDS[key:] * 3)


def test_windows_of_many_recordings_share_calls(tmp_path: Path) -> None:
    recognizer = ToneRecognizer()
    paths = [write_wav(tmp_path / f"{n}.wav", spoken([n + 3, n + 4])) for n in range(24)]
    found = answers(run(backend(recognizer), [part(n, path) for n, path in enumerate(paths)]))
    assert [text(transcript(found[n]).segments) for n in range(24)] == [
        text_of([n + 3, n + 4]) for n in range(24)
    ]
    assert [len(windows) for windows in recognizer.recognized] == [4, 8, 8, 4]  # the first one is careful
    assert max(recognizer.prepared) == ToneRecognizer.encode_windows


def test_a_long_recording_is_planned_and_its_pieces_are_all_of_it(tmp_path: Path) -> None:
    samples, pitches = long_samples(400)
    path = write_wav(tmp_path / "long.wav", samples)
    (plan,) = answers(run(backend(), [part(1, path, words=True)])).values()
    assert isinstance(plan, Done)
    first = transcript(plan)
    assert (first.start_ms, first.end_ms, first.segments) == (0, 0, [])
    assert plan.units == 0
    assert plan.foreseen == first.total_ms == round(1000 * len(samples) / RATE)
    bodies = [json.loads(body) for body in plan.more]
    stretches = [stretch for _, stretch, _ in bodies]
    assert [attachment for attachment, _, _ in bodies] == [["blob", "long.wav"]] * 4
    assert all(request == {"model": "tones", "words": True} for *_, request in bodies)
    assert [begin for begin, _ in stretches] == [0, *(end for _, end in stretches[:-1])]
    assert stretches[-1][1] == first.total_ms
    source = Source(str(path), "blob", path.name)
    pieces = [Part(n, TRANSCRIPTIONS, body, Lane.BULK, source) for n, body in enumerate(plan.more)]
    found = answers(run(backend(), pieces))
    results = [transcript(found[n]) for n in range(4)]
    segments = [segment for result in results for segment in result.segments]
    assert text(segments) == text_of(pitches)
    assert [segment.start_ms for segment in segments] == sorted(segment.start_ms for segment in segments)
    assert [[result.start_ms, result.end_ms] for result in results] == stretches
    assert [result.total_ms for result in results] == [None] * 4
    assert sum(answer.units for answer in found.values() if isinstance(answer, Done)) == plan.foreseen


def test_channels_are_heard_apart_when_asked(tmp_path: Path) -> None:
    left = np.concatenate([spoken([3, 4, 5]), silence(6), spoken([6, 7])])
    right = np.concatenate([silence(3), spoken([20, 21, 22])])
    right = np.concatenate([right, silence(10)])[: len(left)]
    path = write_wav(tmp_path / "call.wav", left, right)
    result = heard_in(path, channels="split")
    by_channel = [text([s for s in result.segments if s.channel == number]) for number in (0, 1)]
    assert by_channel == [text_of([3, 4, 5, 6, 7]), text_of([20, 21, 22])]
    assert [one.channel for one in result.segments] == [0, 1, 0]
    assert {one.channel for one in heard_in(path).segments} == {None}


def test_silence_gives_an_empty_transcript_that_says_so(tmp_path: Path) -> None:
    result = heard_in(write_wav(tmp_path / "quiet.wav", silence(5)))
    assert (result.segments, result.warnings, result.language) == ([], ["no_speech"], None)
    assert result.total_ms == 5000


def test_a_clip_that_somebody_waits_for_passes_a_long_recording_that_somebody_waits_for(
    tmp_path: Path,
) -> None:
    recognizer = ToneRecognizer()
    samples, pitches = long_samples(100)
    long = write_wav(tmp_path / "long.wav", samples)
    clip = write_wav(tmp_path / "clip.wav", spoken([3, 4]))

    def arrive(feed: ListedFeed) -> None:
        if len(recognizer.recognized) == 1 and not feed.gone:
            feed.gone.add(-1)
            feed.parts.append(part(99, clip, lane=Lane.INTERACTIVE))

    feed = ListedFeed([part(1, long, lane=Lane.INTERACTIVE)], arrive)
    found = answers(list(backend(recognizer).run(feed)))
    assert list(found) == [99, 1]
    assert text(transcript(found[1]).segments) == text_of(pitches)


def test_a_part_that_is_cancelled_is_dropped_and_the_others_go_on(tmp_path: Path) -> None:
    samples, pitches = long_samples(60)
    paths = [write_wav(tmp_path / f"{n}.wav", samples) for n in range(3)]
    recognizer = ToneRecognizer()

    def cancel(feed: ListedFeed) -> None:
        if recognizer.recognized:
            feed.gone.add(1)

    feed = ListedFeed([part(n, path) for n, path in enumerate(paths)], cancel)
    found = answers(list(backend(recognizer).run(feed)))
    assert set(found) == {0, 2}
    assert text(transcript(found[2]).segments) == text_of(pitches)


Misheard = Callable[[Window, Asking, bool], Heard | None]


def loops(window: Window, said: str = " and and and and and") -> Heard:
    return heard(words_in(window), text=said, compression_ratio=9.0)


def test_a_window_that_loops_is_heard_in_full_and_if_it_still_does_in_halves(tmp_path: Path) -> None:
    asked: list[tuple[float, bool]] = []

    def misheard(window: Window, asking: Asking, full: bool) -> Heard | None:
        asked.append((window.seconds, full))
        return loops(window) if window.seconds > 4 else None

    path = write_wav(tmp_path / "a.wav", spoken(WORDS[:6]))
    recognizer = ToneRecognizer(misheard)
    found = answers(run(backend(recognizer), [part(1, path)]))
    assert text(transcript(found[1]).segments) == text_of(WORDS[:6])
    assert [full for _, full in asked] == [False, True, False, False]
    assert sum(seconds for seconds, _ in asked[2:]) == pytest.approx(asked[0][0])


def test_what_cannot_be_halved_is_heard_warmer_and_kept_in_the_end(tmp_path: Path) -> None:
    temperatures: list[float] = []

    def misheard(window: Window, asking: Asking, full: bool) -> Heard | None:
        temperatures.append(asking.temperature)
        answer = loops(window)
        answer.temperature = asking.temperature
        return answer

    path = write_wav(tmp_path / "a.wav", spoken(WORDS[:2]))
    result = transcript(answers(run(backend(ToneRecognizer(misheard)), [part(1, path)]))[1])
    assert temperatures[:2] == [0.0, 0.0]
    assert temperatures[2:] == sorted(set(temperatures[2:]))
    assert result.segments[-1].temperature == temperatures[-1] > 0
    assert text(result.segments) == " and and and and and"


def test_a_prompt_that_makes_the_model_loop_is_left_out_at_last(tmp_path: Path) -> None:
    def misheard(window: Window, asking: Asking, full: bool) -> Heard | None:
        return loops(window) if asking.prompt else None

    path = write_wav(tmp_path / "a.wav", spoken(WORDS[:2]))
    answer = run(backend(ToneRecognizer(misheard)), [part(1, path, prompt="and and and")])
    assert text(transcript(answers(answer)[1]).segments) == text_of(WORDS[:2])


def test_what_the_model_takes_for_silence_has_no_text(tmp_path: Path) -> None:
    def misheard(window: Window, asking: Asking, full: bool) -> Heard | None:
        return heard(words_in(window), text=" Thank you.", no_speech_prob=0.9, avg_logprob=-1.5)

    path = write_wav(tmp_path / "a.wav", spoken(WORDS[:2]))
    result = transcript(answers(run(backend(ToneRecognizer(misheard)), [part(1, path)]))[1])
    assert (result.segments, result.warnings) == ([], ["no_speech"])


@pytest.mark.parametrize("fault", ["raises", "nan"])
def test_a_window_that_cannot_be_heard_fails_its_part_alone(fault: str, tmp_path: Path) -> None:
    def misheard(window: Window, asking: Asking, full: bool) -> Heard | None:
        if " 50" not in [word.text for word in words_in(window)]:
            return None
        if fault == "raises":
            raise RuntimeError("no such pitch")
        return heard(words_in(window), avg_logprob=float("nan"))

    paths = [write_wav(tmp_path / f"{n}.wav", spoken([pitch, 5])) for n, pitch in enumerate([4, 50, 6])]
    events = run(backend(ToneRecognizer(misheard)), [part(n, path) for n, path in enumerate(paths)])
    assert codes(events) == {1: "engine_error" if fault == "raises" else "non_finite_output"}
    assert set(answers(events)) == {0, 1, 2}


def test_bad_parts_fail_alone_with_their_codes(tmp_path: Path) -> None:
    good = write_wav(tmp_path / "good.wav", spoken(WORDS))
    text_file = tmp_path / "text.wav"
    text_file.write_text("a shopping list " * 100)
    empty = tmp_path / "empty.wav"
    empty.write_bytes(b"")
    lost = Part(5, TRANSCRIPTIONS, part(5, good).body, Lane.BULK, None)
    parts = [
        part(1, text_file),
        part(2, empty),
        part(3, good, language="de"),
        part(4, good, temperature=7),
        lost,
        part(6, tmp_path / "missing.wav"),
        part(7, good),
    ]
    events = run(backend(), parts)
    assert codes(events) == {
        1: "invalid_audio",
        2: "empty_audio",
        3: "unsupported_language",
        4: "invalid_value",
        5: "file_not_found",
        6: "file_not_found",
    }
    assert isinstance(answers(events)[7], Done)


def test_a_recording_that_ends_early_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", spoken(WORDS))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = heard_in(path)
    assert result.warnings == ["truncated_input"]
    assert text_of(WORDS).startswith(text(result.segments[:1]))


def test_a_piece_that_cannot_be_decoded_is_silence_and_says_so(tmp_path: Path) -> None:
    samples, _ = long_samples(200)
    path = write_wav(tmp_path / "a.wav", samples)
    (plan,) = answers(run(backend(), [part(1, path)])).values()
    assert isinstance(plan, Done)
    ruined = tmp_path / "ruined.wav"
    ruined.write_bytes(b"no sound" * 1000)
    source = Source(str(ruined), "blob", "a.wav")
    (answer,) = answers(run(backend(), [Part(2, TRANSCRIPTIONS, plan.more[0], Lane.BULK, source)])).values()
    result = transcript(answer)
    assert (result.segments, result.warnings) == ([], ["damaged_input", "no_speech"])
    assert isinstance(answer, Done)
    assert answer.units == result.end_ms - result.start_ms > 0


def test_a_long_recording_of_more_channels_than_can_be_split_is_refused_at_once(tmp_path: Path) -> None:
    channel = np.zeros(160 * RATE, np.float32)
    path = write_wav(tmp_path / "many.wav", *[channel] * 9)
    events = run(backend(), [part(1, path, channels="split"), part(2, path)])
    assert codes(events) == {1: "invalid_audio"}
    assert isinstance(answers(events)[2], Done)


def test_only_as_much_is_taken_as_fills_a_batch_and_a_half(tmp_path: Path) -> None:
    samples, _ = long_samples(60)
    path = write_wav(tmp_path / "a.wav", samples)
    feed = ListedFeed([part(n, path) for n in range(40)])
    most = 0
    for event in backend().run(feed):
        if isinstance(event, Started):
            most = max(most, 40 - len(feed.parts))
        if isinstance(event, Done):
            break
    assert most <= 4
