"""What is told of a transcript while it is heard."""

from typing import Any

from api.transcripts_live import LiveTranscript
from backends.transcription import TranscriptionRequest
from backends.types import Segment, TranscriptResult, encode_result, encode_segments
from store.results import ItemResult


def segment(start: int, text: str, channel: int | None = None) -> Segment:
    return Segment(
        start_ms=start,
        end_ms=start + 900,
        text=text,
        tokens=[1],
        seek_ms=0,
        temperature=0.0,
        avg_logprob=-0.1,
        compression_ratio=1.0,
        no_speech_prob=0.0,
        channel=channel,
    )


def result(*segments: Segment, **fields: Any) -> bytes:
    end = max((each.end_ms for each in segments), default=0)
    return encode_result(TranscriptResult(start_ms=0, end_ms=end, segments=list(segments), **fields))


def live(**fields: Any) -> LiveTranscript:
    return LiveTranscript(TranscriptionRequest(model="m", file_id="f", stream=True, **fields))


def deltas(events: Any) -> list[str]:
    return [event["delta"] for event in events if event["type"] == "transcript.text.delta"]


FIRST, SECOND, THIRD = segment(0, " One"), segment(1000, " two."), segment(2000, " Three.")


def test_the_pieces_joined_are_the_text_of_the_end() -> None:
    told = live()
    parts = [result(FIRST, SECOND, total_ms=4000, language="en"), result(THIRD)]
    pieces = [
        *deltas(told.delta(encode_segments([FIRST]))),
        *deltas(told.part(parts[0])),
        *deltas(told.delta(encode_segments([THIRD]))),
        *deltas(told.part(parts[1])),
    ]
    [done] = told.end(ItemResult(n=0, custom_id="", body=b"", status=200, parts=parts))
    assert pieces == ["One", " two.", " Three."]
    assert done["text"] == "".join(pieces)
    assert (done["duration"], done["languages"]) == (4.0, [{"code": "en"}])


def test_what_is_heard_again_is_told_once() -> None:
    told = live()
    assert deltas(told.delta(encode_segments([FIRST, SECOND]))) == ["One", " two."]
    again = segment(20, " One")  # of an engine that began anew, and heard it a little later
    assert deltas(told.delta(encode_segments([again, SECOND, THIRD]))) == [" Three."]


def test_channels_are_told_apart_and_may_overlap() -> None:
    told = live(response_format="diarized_json")
    left, right = segment(0, " Hello.", 0), segment(500, " Yes?", 1)
    events = told.delta(encode_segments([left, right]))
    assert deltas(events) == ["Hello.", " Yes?"]
    whole = [event for event in events if event["type"] == "transcript.text.segment"]
    assert [(event["id"], event["speaker"], event["text"]) for event in whole] == [
        ("seg_0", "channel_0", "Hello."),
        ("seg_1", "channel_1", "Yes?"),
    ]


def test_silence_is_told_as_such() -> None:
    told, silence = live(), result(total_ms=2000, warnings=["no_speech"])
    assert told.part(silence) == []
    [done] = told.end(ItemResult(n=0, custom_id="", body=b"", status=200, parts=[silence]))
    assert (done["text"], done["warnings"]) == ("", ["no_speech"])
