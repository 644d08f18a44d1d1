"""What is told of a part: what is new of it, how it ended, or what is to come instead."""

from collections.abc import Iterator

from backends.transcription import piece
from backends.types import (
    Delta,
    Done,
    ErrorInfo,
    Event,
    Failed,
    Progress,
    TranscriptResult,
    encode_result,
    encode_segments,
)
from backends.whisper.desk import Desk
from backends.whisper.opening import Plan
from backends.whisper.work import Work


def tell(work: Work, desk: Desk) -> Iterator[Event]:
    """What is new of a part: segments that are final, its result, or how far it is."""
    if work.ended:
        return
    if segments := work.final_segments():
        yield Delta(work.key, encode_segments(segments))
    if work.opened is not None and not work.hearings:
        desk.end(work)
        yield Done(work.key, encode_result(work.result()), units=work.milliseconds)
    elif (progress := work.progress()) is not None:
        yield Progress(work.key, *progress)


def fail(work: Work, error: ErrorInfo, desk: Desk) -> Iterator[Failed]:
    """The answer of a part that cannot be computed, if it has none yet."""
    if not work.ended:
        desk.end(work)
        yield Failed(work.key, error)


def planned(work: Work, plan: Plan) -> Done:
    """The answer of a first part that found where to cut: nothing heard, and the others to come."""
    source = work.source
    result = TranscriptResult(
        start_ms=0, end_ms=0, segments=[], total_ms=plan.total_ms, warnings=plan.warnings
    )
    more = [piece(work.part.body, (source.blob, source.name), stretch) for stretch in plan.pieces]
    return Done(work.key, encode_result(result), units=0, more=more, foreseen=plan.total_ms)
