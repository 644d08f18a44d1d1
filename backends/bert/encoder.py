"""What a runtime of the bert family gives the run loop: rows of ids to vectors."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Encoder(Protocol):
    """One loaded model in one precision."""

    @property
    def precision(self) -> str: ...

    def encode(self, batch: list[list[int]]) -> Vectors:
        """Rows of checked ids to float32 (rows, hidden): pooled, and of unit length if the model is
        normalised. The array may be overwritten by the next call."""
