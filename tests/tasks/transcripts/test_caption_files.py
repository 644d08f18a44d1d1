"""Caption files as independent parsers read them."""

from datetime import timedelta
from io import StringIO

import pytest
import srt
import webvtt

from tasks.transcripts import caption_files
from tasks.transcripts.captions import Caption

CAPTIONS = [
    Caption(0, 1001, ("Good night,", "everybody.")),
    Caption(1001, 59_999, ("a --> b, ---> and <i>c</i> & d", "1")),
    Caption(3_600_000, 36_000_500, ("after ten hours",)),
]


def test_srt_is_what_was_said_and_when() -> None:
    found = list(srt.parse(caption_files.srt(CAPTIONS), ignore_errors=False))
    assert [each.index for each in found] == [1, 2, 3]
    assert [(each.start, each.end) for each in found] == [
        (timedelta(milliseconds=caption.start_ms), timedelta(milliseconds=caption.end_ms))
        for caption in CAPTIONS
    ]
    assert found[0].content == "Good night,\neverybody."
    assert found[1].content == "a -> b, -> and <i>c</i> & d\n1"


def test_vtt_is_what_was_said_and_when() -> None:
    found = webvtt.from_buffer(StringIO(caption_files.vtt(CAPTIONS)))
    assert [(each.start, each.end) for each in found] == [
        ("00:00:00.000", "00:00:01.001"),
        ("00:00:01.001", "00:00:59.999"),
        ("01:00:00.000", "10:00:00.500"),
    ]
    assert found[0].lines == ["Good night,", "everybody."]
    assert found[1].raw_text.startswith("a --&gt; b, ---&gt; and &lt;i&gt;c&lt;/i&gt; &amp; d")


def test_vtt_names_the_speaker_as_a_voice() -> None:
    found = webvtt.from_buffer(StringIO(caption_files.vtt([Caption(0, 1, ("yes",), 1)])))
    assert (found[0].voice, found[0].text) == ("channel_1", "yes")


def test_srt_and_lrc_name_the_speaker_before_the_text() -> None:
    both = [Caption(0, 2000, ("Are you", "there?"), 0), Caption(1000, 1500, ("yes",), 1)]
    found = list(srt.parse(caption_files.srt(both), ignore_errors=False))
    assert [each.content for each in found] == ["channel_0: Are you\nthere?", "channel_1: yes"]
    assert caption_files.lrc(both) == "[00:00.00]channel_0: Are you there?\n[00:01.00]channel_1: yes\n"


def test_lrc_has_a_line_for_each_caption() -> None:
    assert caption_files.lrc(CAPTIONS).splitlines() == [
        "[00:00.00]Good night, everybody.",
        "[00:01.00]a --> b, ---> and <i>c</i> & d 1",
        "[60:00.00]after ten hours",
    ]


@pytest.mark.parametrize(("name", "empty"), [("srt", ""), ("vtt", "WEBVTT\n"), ("lrc", "")])
def test_without_captions_a_file_is_empty(name: str, empty: str) -> None:
    assert getattr(caption_files, name)([]) == empty
