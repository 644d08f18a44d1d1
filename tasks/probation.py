"""A paused model on trial in a slot: a part that passes lifts the pause, a crash renews it.

Best is a part that the model has computed before (the witness): if it passes, what crashed the model is
at fault. Where none is known, the claimed parts are tried, one after the other.
"""

from backends.types import Part
from tasks.holding import Holding


class Trial:
    """From the claim of its parts to the first result, or crash. `ready`: the witness was looked for."""

    def __init__(self) -> None:
        self.ready = False
        self._witness: Part | None = None
        self._fed = False

    def begin(self, witness: Part | None) -> None:
        """`witness` has a key of its own; its result is not kept."""
        self.ready, self._witness = True, witness

    def next_parts(self, holding: Holding) -> list[Part]:
        """What to feed to an empty engine: one part, or none."""
        if not self.ready:
            return []
        if self._witness is not None and not self._fed:
            self._fed = True
            return [self._witness]
        if not holding.trying:
            holding.readmit()
        return holding.take_one()

    def interrupted(self) -> None:
        """The engine has gone: the next one begins with the witness."""
        self._fed = False
