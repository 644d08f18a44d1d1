"""Transcripts as answers: one format, several, and what a reader asks for in place of what a request did."""

import io
import json
import zipfile
from typing import Any

import pytest

from backends.transcription import (
    TRANSCRIPTIONS,
    Format,
    TranscriptionRequest,
    parse_request,
    piece,
)
from store.results import ItemResult
from tasks.formats import AS_ASKED, Formats
from tasks.render import render_answer
from tasks.transcript_bodies import body_of_transcript, media_type_of, transcript_body
from tests.tasks.transcripts.samples import part, segment

PARTS = [
    part(0, 2000, segment(0, 900, " One"), total_ms=4000, language="en"),
    part(2000, 4000, segment(2100, 3000, " two."), language="en"),
]


def item(body: bytes) -> ItemResult:
    return ItemResult(n=0, custom_id="a", body=body, status=200, parts=PARTS)


def body_of(*formats: Format, **asked: Any) -> Any:
    body = json.dumps({"file_id": "file-1", **asked}).encode()
    return body_of_transcript(item(body), TRANSCRIPTIONS, "whisper", Formats(transcripts=formats))


def request(**asked: Any) -> TranscriptionRequest:
    return parse_request(json.dumps({"model": "m", "file_id": "f", **asked}).encode(), TRANSCRIPTIONS)


def test_a_line_has_the_format_that_its_request_asked_for() -> None:
    assert body_of()["text"] == "One two."
    assert body_of(response_format="text") == "One two.\n"
    assert body_of(response_format="verbose_json")["segments"][1]["start"] == 2.1


def test_several_formats_stand_under_their_names() -> None:
    body = body_of(formats=["text", "json"])
    assert body["text"] == body["formats"]["json"]["text"] == "One two."
    assert body["formats"]["text"] == "One two.\n"
    assert list(body_of(formats=["srt"])["formats"]) == ["srt"]


def test_a_reader_may_ask_for_other_formats() -> None:
    assert body_of("text", formats=["srt"]) == "One two.\n"
    assert list(body_of("tsv", "lrc", response_format="srt")["formats"]) == ["tsv", "lrc"]


def test_a_reader_may_set_the_rules_of_captions() -> None:
    spoken = item(b'{"file_id": "f", "response_format": "srt", "captions": {"max_lines": 1}}')
    spoken.parts = [part(0, 9000, segment(0, 9000, " one two three four five six"), total_ms=9000)]
    as_asked = body_of_transcript(spoken, TRANSCRIPTIONS, "whisper", AS_ASKED)
    narrow = Formats(captions={"max_line_chars": 14, "max_seconds": 20.0})
    assert as_asked.count("-->") == 2  # by seconds
    assert "\none two three\n\n" in body_of_transcript(spoken, TRANSCRIPTIONS, "whisper", narrow)
    assert narrow.ruled(request(captions={"max_lines": 1})).captions.max_lines == 1


def test_a_piece_is_rendered_as_it_was_asked() -> None:
    asked = piece(b'{"model": "m", "response_format": "text"}', ("blob", "talk.wav"))
    assert body_of_transcript(item(asked), TRANSCRIPTIONS, "whisper", AS_ASKED) == "One two.\n"


@pytest.mark.parametrize(
    ("asked", "media_type"),
    [
        ({}, "application/json"),
        ({"response_format": "vtt"}, "text/vtt; charset=utf-8"),
        ({"formats": ["vtt"]}, "application/zip"),
    ],
)
def test_the_answer_to_a_call_is_what_its_type_says(asked: dict[str, Any], media_type: str) -> None:
    wanted = request(**asked)
    answer = render_answer(item(b""), lambda parts: transcript_body(parts, wanted, "talk.wav"))
    assert media_type_of(wanted) == media_type
    if "formats" in asked:
        assert zipfile.ZipFile(io.BytesIO(answer)).namelist() == ["talk.vtt"]
    elif asked:
        assert answer.startswith(b"WEBVTT\n")
    else:
        assert json.loads(answer)["text"] == "One two."
