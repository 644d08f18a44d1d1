"""The run loop of the whisper family: parts in, transcripts out, over any recognizer.

A runtime is a subclass that says how to load its recognizer. All the rest is here: opening recordings,
cutting long ones into parts, pooling windows over parts, judging what was heard and hearing it again,
letting interactive parts overtake, failing one part without the others.
"""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any, ClassVar, Self

import structlog

from backends.base import Backend, Feed
from backends.errors import BackendError, InvalidBody
from backends.spec_values import check_values
from backends.transcription import TranscriptionRequest, parse_part
from backends.types import ErrorInfo, Event, Failed, Lane, Part, Started
from backends.whisper.desk import Desk
from backends.whisper.guard import Full, Silent, Split, Warmer, judge
from backends.whisper.hearing import prepare, recognize, refusal
from backends.whisper.opening import Opener, Plan
from backends.whisper.pacing import Pace
from backends.whisper.recognizer import Recognizer
from backends.whisper.selftest import check_hearing
from backends.whisper.telling import fail, planned, tell
from backends.whisper.vad import Vad
from backends.whisper.window import Asking, Heard
from backends.whisper.windows import halves
from backends.whisper.work import Hearing, Work
from configs.families import FAMILY_RULES
from configs.models import ModelSpec
from configs.vad_file import VAD_FILE

log = structlog.get_logger(__name__)


class WhisperBackend(Backend):
    """A model of the whisper family. Subclasses load recognizers; `runtime` is their name in specs."""

    runtime: ClassVar[str]

    def __init__(self, spec: ModelSpec, recognizer: Recognizer, vad: Vad, threads: int = 1) -> None:
        self._spec = spec
        self._recognizer = recognizer
        self._vad = vad
        longest = spec.options.get("window_seconds") or recognizer.window_seconds
        self._opener = Opener(vad=vad, window_seconds=longest)
        self._threads = threads
        self._preparing, self._recognizing = Pace(recognizer.encode_windows), Pace(recognizer.batch_windows)

    @classmethod
    def load(cls, spec: ModelSpec, folder: Path, threads: int) -> Self:
        """Load detector and recognizer, and hear something. Raises `LoadFailed`."""
        check_values(spec, FAMILY_RULES["whisper"])
        vad = Vad.load(folder / VAD_FILE.path, threads)
        recognizer = cls.open_recognizer(spec, folder, threads)
        check_hearing(recognizer, vad, spec.name)
        return cls(spec, recognizer, vad, threads)

    @classmethod
    @abstractmethod
    def open_recognizer(cls, spec: ModelSpec, folder: Path, threads: int) -> Recognizer:
        """Load the model's weights. Raises `LoadFailed`."""

    @property
    def info(self) -> dict[str, Any]:
        """What operators want to know of a loaded model."""
        return {
            "precision": self._recognizer.precision,
            "multilingual": self._recognizer.multilingual,
            "window_seconds": self._opener.window_seconds,
            "batch_windows": self._recognizer.batch_windows,
        }

    def run(self, feed: Feed) -> Iterator[Event]:
        """Compute parts until the feed is closed and nothing is in hand."""
        desk = Desk(self._recognizer.batch_windows, self._recognizing)
        while True:
            desk.drop(feed.cancelled())
            parts = feed.take(desk.room, wait=0.0 if desk.busy else None)
            for part in parts:
                yield from self._accept(part, desk)
            step = desk.next_step()
            if isinstance(step, Work):
                yield from self._open(step, desk)
            elif step:
                yield from self._hear(step, desk)
            elif not parts and feed.closed:
                return

    def close(self) -> None:
        self._recognizer.close()
        self._vad.close()

    def _accept(self, part: Part, desk: Desk) -> Iterator[Event]:
        """Check a part and put it in line."""
        spec = self._spec
        try:
            request = parse_part(part.body, part.endpoint, model=spec.name, defaults=spec.defaults)
            asking = asking_of(request)
            self._recognizer.check(asking)
            if part.source is None:
                raise InvalidBody("the recording is not there", code="file_not_found", param="file")
        except InvalidBody as error:
            yield Failed(part.key, ErrorInfo(error.code, error.message, error.param))
            return
        path, stretch = part.source.path, request.stretch
        split = request.channels == "split"
        opener = self._opener
        desk.add(
            Work(
                part=part,
                source=part.source,
                asking=asking,
                interactive=part.lane is Lane.INTERACTIVE,
                opening=opener.piece(path, stretch, split=split)
                if stretch
                else opener.whole(path, split=split),
                left_ms=stretch[1] - stretch[0] if stretch else 0,
            )
        )

    def _open(self, work: Work, desk: Desk) -> Iterator[Event]:
        """A step on the way to a part's windows."""
        assert work.opening is not None
        if not work.started:
            work.started = True
            yield Started([work.key])
        try:
            work.left_ms = next(work.opening)
        except StopIteration as end:
            if isinstance(end.value, Plan):
                desk.end(work)
                yield planned(work, end.value)
                return
            work.open_with(end.value)
            desk.opened(work)
        except BackendError as error:
            yield from fail(work, ErrorInfo(error.code, error.message, error.param), desk)
            return
        except Exception as error:
            log.exception("recording.failed", name=work.source.name)
            yield from fail(work, refusal(error), desk)
            return
        yield from tell(work, desk)

    def _hear(self, hearings: list[Hearing], desk: Desk) -> Iterator[Event]:
        """One native call: what is lacking is prepared; what is prepared is recognized."""
        began = process_time()
        if lacking := [hearing for hearing in hearings if hearing.prepared is None]:
            pace, called = self._preparing, lacking[: self._preparing.windows]
            failures = prepare(self._recognizer, called)
        else:
            pace, called = self._recognizing, hearings
            answers, failures = recognize(self._recognizer, called)
            for hearing, heard in answers:
                _judge(hearing, heard, desk)
        pace.took(len(called), (process_time() - began) / self._threads)
        for hearing, error in failures:
            yield from fail(hearing.work, error, desk)
        for work in dict.fromkeys(hearing.work for hearing in hearings):
            yield from tell(work, desk)


def asking_of(request: TranscriptionRequest) -> Asking:
    """What is asked of the model."""
    return Asking(
        task=request.task,
        language=request.language,
        prompt=request.prompt,
        temperature=request.temperature,
        logprobs=request.logprobs,
    )


def _judge(hearing: Hearing, heard: Heard, desk: Desk) -> None:
    """Keep what was heard in a window, or have it heard again."""
    work = hearing.work
    verdict = judge(hearing.window, heard, full=hearing.full, depth=hearing.depth)
    instead: list[Hearing] = []
    match verdict:
        case Full():
            instead = [hearing.again_in_full()]
        case Split():
            instead = [hearing.half(window) for window in halves(hearing.window) if window.speech]
        case Warmer(temperature):
            instead = [hearing.warmer(temperature)]
        case Silent():
            work.settle(hearing, None)
        case _:
            work.settle(hearing, heard)
    if instead:
        work.redo(hearing, instead)
    desk.settled(hearing, instead)
