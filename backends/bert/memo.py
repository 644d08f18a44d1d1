"""Vectors that were computed already, by the ids that they came from: equal inputs are computed once."""

from array import array
from collections import OrderedDict
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

MEMO_BYTES = 64 * 1024**2
# What an entry costs beside its vector: key, array object, dictionary slot. Estimated, to keep the bound.
ENTRY_OVERHEAD_BYTES = 300


def key_of(ids: list[int]) -> bytes:
    """A digest of the ids: 16 bytes, so that the memo holds vectors and not texts."""
    return blake2b(array("I", ids).tobytes(), digest_size=16).digest()


class Memo:
    """Key → float32 vector, the least recently used leaving first once `limit` bytes are reached."""

    def __init__(self, limit: int = MEMO_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._vectors: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, key: bytes) -> npt.NDArray[np.float32] | None:
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector

    def put(self, key: bytes, vector: npt.NDArray[np.float32]) -> None:
        """Keep a copy: a row that is a view would keep its whole batch alive."""
        if key in self._vectors:
            return
        self._vectors[key] = vector.copy()
        self._size += vector.nbytes + ENTRY_OVERHEAD_BYTES
        while self._size > self._limit:
            _, oldest = self._vectors.popitem(last=False)
            self._size -= oldest.nbytes + ENTRY_OVERHEAD_BYTES
