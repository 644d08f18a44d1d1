"""What a runtime of the whisper family must do; everything around it is the same for all of them."""

from collections.abc import Sequence
from typing import Any, Protocol

from backends.whisper.window import Asking, Heard, Window

Prepared = Any  # what a runtime makes of a window before it is recognized: opaque to others


class Recognizer(Protocol):
    """A loaded model. Every call is one native call (or a few) on the calling thread and holds it for about a
    second at most, if it is given no more than `batch_windows` windows."""

    window_seconds: float  # the longest window it wants
    batch_windows: int  # windows per `recognize` at most
    encode_windows: int  # windows per `prepare` at most
    multilingual: bool
    precision: str  # what operators want to know of its numbers

    def check(self, asking: Asking) -> None:
        """Raises `InvalidBody` for what this model cannot do: another language, translating, a prompt that is
        too long."""

    def prepare(self, windows: Sequence[Window], *, full: bool = False) -> list[Prepared]:
        """Make windows ready to be recognized (log-mel, encoder). `full`: as if each were 30 seconds long."""

    def recognize(
        self, windows: Sequence[Window], prepared: Sequence[Prepared], asking: Asking
    ) -> list[Heard]:
        """What is said in windows that `prepare` has seen, in their order; with word times."""

    def close(self) -> None:
        """Free what was loaded."""
