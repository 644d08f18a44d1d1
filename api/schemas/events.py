"""What `GET /v1/jobs/{id}/events` sends."""

import msgspec

from api.schemas.jobs import (
    AudioProgress,
    ItemCounts,
    RequestCounts,
    audio_progress,
    item_counts,
    request_counts,
)
from backends.types import Segment
from store.following import EndedItem, Look, PartItem
from tasks.transcripts.merged import speaker_name


class StandingEvent(msgspec.Struct, kw_only=True):
    """`snapshot`, `state` and `progress`: how the job stands."""

    id: str
    status: str
    counts: ItemCounts
    request_counts: RequestCounts
    audio: AudioProgress | None


class EndedItemObject(msgspec.Struct, kw_only=True):
    """`id` is its number, as in the list of items."""

    id: int
    custom_id: str
    state: str


class ItemsEvent(msgspec.Struct, kw_only=True):
    """`items`: those that have ended."""

    items: list[EndedItemObject]


def ended_item(item: EndedItem) -> EndedItemObject:
    return EndedItemObject(id=item.n, custom_id=item.custom_id, state=item.state)


class HeardSegment(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Times in seconds from the recording's beginning; `speaker` where channels are transcribed apart."""

    start: float
    end: float
    text: str
    speaker: str | None = None


class SegmentsEvent(msgspec.Struct, kw_only=True):
    """`segments`: what has been heard of an item's recording. `id` is the item's number."""

    id: int
    custom_id: str
    segments: list[HeardSegment]


def standing(look: Look) -> StandingEvent:
    return StandingEvent(
        id=f"job_{look.suffix}",
        status=look.state,
        counts=item_counts(look.counts),
        request_counts=request_counts(look.counts),
        audio=audio_progress(look.endpoint, look.units, look.foreseen, look.under_way),
    )


def heard_of(item: PartItem, segments: list[Segment]) -> SegmentsEvent:
    heard = [
        HeardSegment(
            start=segment.start_ms / 1000,
            end=segment.end_ms / 1000,
            text=segment.text.strip(),
            speaker=None if segment.channel is None else speaker_name(segment.channel),
        )
        for segment in segments
    ]
    return SegmentsEvent(id=item.n, custom_id=item.custom_id, segments=heard)
