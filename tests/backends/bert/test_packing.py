"""What one native call holds, and what is remembered of calls before."""

import numpy as np
import pytest

from backends.bert.memo import ENTRY_OVERHEAD_BYTES, Memo, key_of
from backends.bert.packing import Batch, Budget, Row
from backends.bert.prepare import Prepared
from backends.bert.work import Work


def rows(*lengths: int) -> list[Row]:
    """Rows that differ, in the order of a sorted line: the next one last."""
    ids = [[number, *[7] * (length - 1)] for number, length in enumerate(sorted(lengths))]
    work = Work.of(1, Prepared(rows=ids, spans=[], dimensions=None), 4, interactive=False)
    return [Row(len(row), key_of(row), at, work) for at, row in enumerate(ids)]


def lengths_of(batch: Batch) -> list[int]:
    return [len(ids) for ids in batch.ids.values()]


@pytest.mark.parametrize(("padded", "expected"), [(True, [9, 5]), (False, [9, 5, 4, 2])])
def test_padding_counts_only_where_rows_are_padded(padded: bool, expected: list[int]) -> None:
    batch = Batch(Budget(max_tokens=20, max_rows=8, padded=padded))
    line = rows(1, 2, 4, 5, 9)
    batch.fill(line)
    assert lengths_of(batch) == expected
    assert len(line) == 5 - len(expected)


def test_the_number_of_rows_is_bounded() -> None:
    batch = Batch(Budget(max_tokens=1000, max_rows=3, padded=True))
    line = rows(1, 1, 1, 1, 1)
    batch.fill(line)
    assert (len(batch.ids), len(line)) == (3, 2)


def test_a_row_beyond_the_budget_goes_alone() -> None:
    batch = Batch(Budget(max_tokens=8, max_rows=8, padded=True))
    line = rows(1, 30)
    batch.fill(line)
    assert lengths_of(batch) == [30]


def test_equal_rows_cost_nothing() -> None:
    batch = Batch(Budget(max_tokens=8, max_rows=1, padded=True))
    (row,) = rows(8)
    batch.fill([row] * 5)
    assert (len(batch.rows), len(batch.ids)) == (5, 1)


def test_the_memo_forgets_what_was_used_longest_ago() -> None:
    vector = np.ones(4, dtype=np.float32)
    memo = Memo(3 * (vector.nbytes + ENTRY_OVERHEAD_BYTES))
    for name in (b"a", b"b", b"c"):
        memo.put(name, vector)
    assert memo.get(b"a") is not None
    memo.put(b"d", vector)
    assert memo.get(b"b") is None
    assert [name for name in (b"a", b"c", b"d") if memo.get(name) is not None] == [b"a", b"c", b"d"]
    assert len(memo) == 3


def test_the_memo_keeps_a_copy() -> None:
    memo, batch = Memo(), np.ones((2, 4), dtype=np.float32)
    memo.put(b"a", batch[0])
    batch[:] = 0
    assert memo.get(b"a") is not None
    np.testing.assert_array_equal(memo.get(b"a"), 1)  # type: ignore[arg-type]


def test_different_ids_have_different_keys() -> None:
    assert len({key_of(ids) for ids in ([1], [1, 1], [257], [1, 0], [0, 1], [2**31 - 1])}) == 6
