import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import InvalidBody
from backends.transcription import (
    TRANSCRIPTIONS,
    TRANSLATIONS,
    Captions,
    TranscriptionRequest,
    parse_part,
    parse_request,
    piece,
)
from configs.error_codes import CODES

ATTACHMENT = ("blob-1", "note.wav")


def parse(endpoint: str = TRANSCRIPTIONS, **fields: object) -> TranscriptionRequest:
    return parse_request(json.dumps({"model": "m", "file_id": "file-1", **fields}).encode(), endpoint)


def refusal(body: bytes, endpoint: str = TRANSCRIPTIONS) -> InvalidBody:
    with pytest.raises(InvalidBody) as caught:
        parse_request(body, endpoint)
    return caught.value


def test_a_plain_request_has_the_defaults_of_openai() -> None:
    assert parse() == TranscriptionRequest(model="m", file_id="file-1")
    assert parse(TRANSLATIONS).task == "translate"


def test_what_the_official_client_may_send_is_understood() -> None:
    request = parse(
        language="en-US",
        prompt=" Dr. Grant ",
        keywords=["Batchyard", "ggml"],
        response_format="verbose_json",
        temperature=0.2,
        timestamp_granularities=["word", "segment"],
        chunking_strategy={"type": "server_vad", "threshold": 0.4},
        known_speaker_names=[],
        languages=["de"],
        stream=False,
    )
    assert request.language == "en"
    assert request.prompt == "Dr. Grant Batchyard, ggml"
    assert (request.granularities, request.words) == (frozenset({"word", "segment"}), True)
    assert request.temperature == 0.2
    assert parse(languages=["DE"], chunking_strategy="auto").language == "de"
    assert parse(include=["logprobs"], stream=True).logprobs


def test_speakers_are_told_apart_by_channel_where_they_are_asked_for() -> None:
    assert parse(response_format="diarized_json").channels == "split"
    assert parse(formats=["srt", "diarized_json"]).channels == "split"
    assert parse().channels == "mix"


def test_several_formats_stand_in_place_of_one() -> None:
    request = parse(formats=["srt", "text", "srt"], captions={"max_lines": 1, "max_seconds": 2.5})
    assert request.wanted == ("srt", "text")
    assert request.captions == Captions(max_lines=1, max_seconds=2.5)
    assert parse().wanted == ("json",)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"file_id": None}, "missing_required_parameter", "file"),
        ({"url": "https://a.example/x.mp3"}, "missing_required_parameter", "file"),
        ({"file_id": "../x"}, "invalid_value", "file_id"),
        ({"file_id": None, "url": "file:///etc/passwd"}, "invalid_value", "url"),
        ({"file_id": None, "url": "https://"}, "invalid_value", "url"),
        ({"file_id": 7}, "invalid_type", "file_id"),
        ({"model": None}, "missing_required_parameter", "model"),
        ({"input": "x"}, "invalid_request", "input"),
        ({"language": "klingon"}, "invalid_value", "language"),
        ({"languages": ["en", "de"]}, "invalid_value", "languages"),
        ({"keywords": "one"}, "invalid_type", "keywords"),
        ({"temperature": 1.5}, "invalid_value", "temperature"),
        ({"temperature": True}, "invalid_type", "temperature"),
        ({"response_format": "docx"}, "invalid_value", "response_format"),
        ({"response_format": "srt", "formats": ["vtt"]}, "invalid_value", "formats"),
        ({"formats": ["docx"]}, "invalid_value", "formats"),
        ({"timestamp_granularities": ["word"]}, "invalid_value", "timestamp_granularities"),
        ({"include": ["logprobs"], "response_format": "srt"}, "invalid_value", "include"),
        ({"stream": True, "response_format": "srt"}, "invalid_value", "stream"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"channels": "mix", "response_format": "diarized_json"}, "invalid_value", "channels"),
        ({"chunking_strategy": "manual"}, "invalid_value", "chunking_strategy"),
        ({"chunking_strategy": {"type": "none"}}, "invalid_value", "chunking_strategy"),
        ({"known_speaker_names": ["Ann"]}, "invalid_value", "known_speaker_names"),
        ({"captions": {"max_lines": 0}}, "invalid_value", "captions.max_lines"),
        ({"captions": {"max_lines": 1.5}}, "invalid_type", "captions.max_lines"),
        ({"captions": {"lines": 2}}, "invalid_request", "captions.lines"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], code: str, param: str) -> None:
    error = refusal(json.dumps({"model": "m", "file_id": "file-1", **fields}).encode())
    assert (error.code, error.param, error.status) == (code, param, CODES[code].status)


def test_a_translation_has_no_speakers() -> None:
    body = json.dumps({"model": "m", "file_id": "f", "response_format": "diarized_json"}).encode()
    assert refusal(body, TRANSLATIONS).param == "response_format"


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_a_caller_sends_is_read_or_refused(body: bytes | str) -> None:
    sent = body if isinstance(body, bytes) else body.encode()
    assert refusal(sent).status == 400


def test_no_caller_can_send_a_piece() -> None:
    assert refusal(piece(b'{"model": "m"}', ATTACHMENT)).code == "invalid_request"


def test_a_piece_keeps_what_was_asked_and_names_its_bytes() -> None:
    asked = json.dumps({"language": "en", "url": "https://a.example/x.mp3", "words": True}).encode()
    whole = piece(asked, ATTACHMENT)
    later = piece(whole, ATTACHMENT, (120_000, 241_500))
    first = parse_part(whole, TRANSCRIPTIONS, model="m", defaults={"prompt": "Grant"})
    assert (first.attachment, first.stretch, first.url) == (ATTACHMENT, None, None)
    assert (first.model, first.prompt, first.words) == ("m", "Grant", True)
    assert first.granularities == {"segment", "word"}  # for a verbose_json that is read afterwards
    second = parse_part(later, TRANSLATIONS, model="m")
    assert (second.attachment, second.stretch) == (ATTACHMENT, (120_000, 241_500))
    assert (second.task, second.language) == ("translate", "en")


def test_a_recording_that_came_along_is_the_only_one() -> None:
    asked = b'{"model": "m"}'
    assert parse_request(asked, TRANSCRIPTIONS, attached=True).file_id is None
    with pytest.raises(InvalidBody):
        parse_request(b'{"model": "m", "file_id": "f"}', TRANSCRIPTIONS, attached=True)


def test_the_values_of_a_spec_fill_in_what_a_request_leaves_out() -> None:
    defaults = {"language": "en", "temperature": 0.4}
    body = b'{"model": "m", "file_id": "f", "temperature": 0}'
    request = parse_part(body, TRANSCRIPTIONS, model="m", defaults=defaults)
    assert (request.language, request.temperature) == ("en", 0.0)
