"""Results that are told while they are computed: what an endpoint makes of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from store.results import ItemResult

Told = Mapping[str, Any]  # an event's data; its `type` names it


class LiveResult(ABC):
    """One result, told to one caller. `delta` and `part` come in the order of the item's parts.

    What was told early may come again, in the part's result or because an engine died and the part was
    computed anew: it is told once.
    """

    @abstractmethod
    def delta(self, data: bytes) -> Sequence[Told]:
        """Of the data of a `Delta` of the part whose turn it is."""

    @abstractmethod
    def part(self, data: bytes) -> Sequence[Told]:
        """Of the result of the part whose turn it is; after it comes the next part's turn."""

    @abstractmethod
    def end(self, item: ItemResult) -> Sequence[Told]:
        """Of the whole result, a success."""
