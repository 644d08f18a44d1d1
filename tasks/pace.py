"""How fast models are, measured while they run, and the size of a cut that follows from it."""

from collections.abc import Collection, Mapping

from backends.types import Lane

CUT_SECONDS = {Lane.INTERACTIVE: 1.0, Lane.BULK: 5.0}  # work in one chunk
CUT_MOST = {Lane.INTERACTIVE: 64, Lane.BULK: 512}
CUT_UNMEASURED = {Lane.INTERACTIVE: 1, Lane.BULK: 32}
UNEVEN_CUT = {Lane.INTERACTIVE: 1, Lane.BULK: 8}  # where a part may take seconds, or next to nothing
WEIGHT = 0.2  # of the newest measurement, for each 32 parts or five seconds that it stands on


class Pace:
    """Seconds of compute per part of each model, as a moving average.

    `take_fresh` may be asked by another thread.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._fresh: set[str] = set()

    @property
    def seconds(self) -> Mapping[str, float]:
        return self._seconds

    def measured(self, model: str, parts: int, seconds: float) -> None:
        """`parts` of `model` took `seconds` together."""
        newest = seconds / parts
        known = self._seconds.get(model)
        if known is None:
            self._seconds[model] = newest
        else:  # by what is known: a machine that had other things to do must not weigh the more for it
            much = max(parts / 32, parts * known / CUT_SECONDS[Lane.BULK])
            self._seconds[model] = known + min(1.0, WEIGHT * much) * (newest - known)
        self._fresh.add(model)

    def learn(self, known: Mapping[str, float]) -> None:
        """Begin with what others have measured, of models that were not measured here."""
        self._seconds = {**known, **self._seconds}

    def take_fresh(self) -> dict[str, float]:
        """The models that were measured since the last time this was asked."""
        fresh, self._fresh = self._fresh, set()
        return {model: self._seconds[model] for model in list(fresh)}

    def sizes(self, lane: Lane, uneven: Collection[str] = ()) -> dict[str, int]:
        """Parts per chunk for every measured model, and for those whose parts are `uneven`: what these have
        taken says little of what the next ones will."""
        sizes = {
            model: max(1, min(CUT_MOST[lane], round(CUT_SECONDS[lane] / max(seconds, 1e-6))))
            for model, seconds in self._seconds.items()
        }
        return sizes | {model: min(UNEVEN_CUT[lane], sizes.get(model, CUT_MOST[lane])) for model in uneven}
