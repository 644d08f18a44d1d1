"""Each form is what OpenAI's client and the tools that read such files expect."""

from typing import Any, get_args

import orjson
import pytest
from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionVerbose, TranslationVerbose

from backends.transcription import FORMATS, Captions, Format
from tasks.transcripts.formats import ENDINGS, MEDIA_TYPES, files_of, render
from tasks.transcripts.languages import LANGUAGE_NAMES, language_name
from tests.tasks.transcripts.samples import request, segment, transcript, words

TWO = transcript(
    segment(500, 2250, " Good\tnight.", words=words((500, 1000, " Good"), (1100, 2250, " night."))),
    segment(3000, 4000, " And you?", seek_ms=2990, channel=1),
    total_ms=9_200,
)
EMPTY = transcript(language=None, total_ms=3000)


def body(form: Format, **asked: Any) -> dict[str, Any]:
    found = render(TWO, form, request(**asked))
    assert isinstance(found, dict)
    return found


def text(form: Format, found: Any = TWO, **asked: Any) -> str:
    rendered = render(found, form, request(**asked))
    assert isinstance(rendered, bytes)
    return rendered.decode()


def test_json_is_the_text_and_what_it_cost() -> None:
    assert body("json") == {
        "text": "Good\tnight. And you?",
        "usage": {"type": "duration", "seconds": 10},
    }
    Transcription.model_validate(body("json"), strict=True)


def test_probabilities_of_tokens_are_given_with_their_texts() -> None:
    said = segment(0, 900, " Ja, é", token_texts=[" Ja", ", ", "", "é"], token_logprobs=[-0.5, -1, -2, -3.0])
    found = render(transcript(said), "json", request(logprobs=True))
    assert isinstance(found, dict)
    assert found["logprobs"] == [
        {"token": " Ja", "logprob": -0.5, "bytes": [32, 74, 97]},
        {"token": ", ", "logprob": -1, "bytes": [44, 32]},
        {"token": "", "logprob": -2, "bytes": []},
        {"token": "é", "logprob": -3.0, "bytes": [195, 169]},
    ]
    Transcription.model_validate(found)


def test_verbose_json_has_ten_fields_per_segment() -> None:
    found = body("verbose_json")
    assert found["segments"][1] == {
        "id": 1,
        "seek": 299,
        "start": 3.0,
        "end": 4.0,
        "text": " And you?",
        "tokens": [314, 1842],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 1.5,
        "no_speech_prob": 0.01,
    }
    assert "".join(each["text"] for each in found["segments"]).strip() == found["text"]
    assert {name: found[name] for name in ("task", "language", "duration")} == {
        "task": "transcribe",
        "language": "english",
        "duration": 9.2,
    }
    assert "words" not in found
    TranscriptionVerbose.model_validate(found, strict=True)


def test_words_come_in_place_of_segments_or_beside_them() -> None:
    found = body("verbose_json", granularities=frozenset({"word"}))
    assert found["words"] == [
        {"word": "Good", "start": 0.5, "end": 1.0},
        {"word": "night.", "start": 1.1, "end": 2.25},
    ]
    assert "segments" not in found
    TranscriptionVerbose.model_validate(found, strict=True)
    assert {"words", "segments"} <= set(body("verbose_json", granularities=frozenset({"word", "segment"})))


def test_a_translation_is_english_whatever_was_spoken() -> None:
    found = render(transcript(language="de"), "verbose_json", request(task="translate"))
    assert isinstance(found, dict)
    assert (found["task"], found["language"]) == ("translate", "english")
    TranslationVerbose.model_validate(found)


def test_diarized_json_names_the_channel_as_the_speaker() -> None:
    found = body("diarized_json")
    assert found["segments"] == [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{number}",
            "start": start,
            "end": end,
            "speaker": f"channel_{number}",
            "text": said,
        }
        for number, (start, end, said) in enumerate([(0.5, 2.25, "Good\tnight."), (3.0, 4.0, "And you?")])
    ]
    TranscriptionDiarized.model_validate(found, strict=True)


def test_text_files_are_what_their_readers_expect() -> None:
    assert text("text") == "Good\tnight. And you?\n"
    assert text("tsv") == "start\tend\ttext\n500\t2250\tGood night.\n3000\t4000\tAnd you?\n"
    assert text("srt").startswith("1\n00:00:00,500 --> 00:00:02,250\nGood night.\n\n2\n")
    assert text("vtt").startswith("WEBVTT\n\n00:00:00.500 --> 00:00:02.250\nGood night.\n")
    assert text("lrc") == "[00:00.50]Good night.\n[00:03.00]channel_1: And you?\n"


def test_captions_follow_the_rules_of_the_request() -> None:
    found = text("srt", captions=Captions(max_line_chars=6, max_lines=2))
    assert "Good\nnight." in found


@pytest.mark.parametrize("form", FORMATS)
def test_of_silence_there_is_an_empty_transcript_that_says_why(form: Format) -> None:
    found = render(EMPTY, form, request(language="de"))
    if isinstance(found, dict):
        assert (found["text"], found["warnings"]) == ("", ["no_speech"])
        assert found.get("language", "german") == "german"  # what the request says
        assert found.get("segments", []) == []
    else:
        assert found.decode().strip() in ("", "WEBVTT", "start\tend\ttext")


def test_files_are_named_by_their_form() -> None:
    found = files_of(TWO, FORMATS, request())
    assert len(found) == len(FORMATS)
    assert found["txt"] == render(TWO, "text", request())
    assert orjson.loads(found["verbose.json"]) == body("verbose_json")


def test_every_form_has_an_ending_and_a_media_type() -> None:
    assert set(ENDINGS) == set(MEDIA_TYPES) == set(get_args(Format))


def test_languages_have_the_names_of_whisper() -> None:
    assert len(LANGUAGE_NAMES) == 100
    assert [language_name(code) for code in ("en", "yue", "tlh", None)] == ["english", "cantonese", "tlh", ""]
