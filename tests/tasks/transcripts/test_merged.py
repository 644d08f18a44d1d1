"""The parts of a recording become one transcript, in whatever order they come."""

import pytest

from backends.types import EmbeddingResult, encode_result
from tasks.transcripts.merged import transcript_of
from tests.tasks.transcripts.samples import part, segment

PLAN = part(0, 0, total_ms=250_500, warnings=["truncated_input"])
FIRST = part(0, 120_000, segment(1000, 2000, " Good night."), language="en")
SECOND = part(120_000, 250_000, segment(130_000, 131_000, " And good morning."), language="en")
SILENT = part(0, 120_000, warnings=["no_speech"])


def test_parts_are_merged_by_their_times() -> None:
    for parts in ([PLAN, FIRST, SECOND], [SECOND, PLAN, FIRST]):
        found = transcript_of(parts)
        assert found.text == "Good night. And good morning."
        assert [each.start_ms for each in found.segments] == [1000, 130_000]
        assert (found.language, found.duration) == ("en", 250.5)
        assert found.warnings == ("truncated_input",)


def test_the_text_is_that_of_the_segments_joined() -> None:
    found = transcript_of([PLAN, FIRST, SECOND])
    assert found.text == "".join(each.text for each in found.segments).strip()


def test_channels_are_interleaved_by_time() -> None:
    left = [segment(0, 900, " Hello?", channel=0), segment(3000, 3900, " Fine.", channel=0)]
    right = [segment(0, 800, " Yes.", channel=1), segment(1000, 2900, " How are you?", channel=1)]
    found = transcript_of([part(0, 4000, *left, *right, total_ms=4000)])
    assert found.text == "Hello? Yes. How are you? Fine."
    assert [each.channel for each in found.segments] == [0, 1, 1, 0]


def test_silence_in_one_part_is_no_warning_and_in_all_parts_it_is() -> None:
    assert transcript_of([PLAN, SILENT, SECOND]).warnings == ("truncated_input",)
    found = transcript_of([SILENT, PLAN])
    assert (found.text, found.language, found.segments) == ("", None, ())
    assert found.warnings == ("truncated_input", "no_speech")


def test_the_language_is_the_one_in_which_most_is_said() -> None:
    other = part(250_000, 250_500, segment(250_100, 250_200, " Ja."), language="de")
    assert transcript_of([other, FIRST, SECOND]).language == "en"


def test_a_warning_of_many_parts_is_given_once() -> None:
    damaged = [part(n, n + 1, segment(n, n + 1, " a"), warnings=["damaged_input"]) for n in range(3)]
    assert transcript_of(damaged).warnings == ("damaged_input",)


def test_a_result_of_another_family_is_refused() -> None:
    with pytest.raises(TypeError, match="EmbeddingResult"):
        transcript_of([encode_result(EmbeddingResult(1, 2, b"\0" * 8))])
