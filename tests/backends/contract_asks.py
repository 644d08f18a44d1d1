"""What the contract suite asks of a model, and what it takes for a right answer: per kind of endpoint."""

import json
import random
from collections.abc import Mapping
from typing import Any, Protocol

from backends.types import Lane, Part, Result


class Asks(Protocol):
    """`several` parts are computed in about a second, or in a few; so are `many` heavy ones."""

    several: int
    many: int

    def valid(self, key: int, *, seed: int, lane: Lane = Lane.BULK) -> Part:
        """A part that must succeed; equal seeds ask the same."""

    def heavy(self, key: int, *, seed: int) -> Part:
        """A part that takes the model longer."""

    def bad(self, key: int, code: str) -> Part:
        """A part that must fail with the code."""

    def senseless(self, key: int, dice: random.Random) -> Part:
        """A damaged request, or one that no caller would send."""

    codes: Mapping[str, str | None]  # of bad parts, each with the field at fault

    def is_right(self, seed: int, result: Result) -> bool:
        """Whether `result` answers `valid(seed)`."""

    def same(self, one: Result, other: Result) -> bool:
        """Whether two results are equal, as far as precision goes."""


def senseless_body(dice: random.Random, whole: Mapping[str, Any], fields: list[str]) -> bytes:
    """Random bytes, a damaged request, or `whole` with one random value in one of `fields`."""
    encoded = json.dumps(whole).encode()
    values: list[object] = [
        None,
        True,
        -1,
        0,
        1.5,
        1e300,
        2**70,
        "",
        "\x00",
        [],
        [[]],
        {},
        [None],
        ["a", 1],
        [[1], "a"],
        "x" * 9999,
    ]
    match dice.randrange(3):
        case 0:
            return dice.randbytes(dice.randrange(64))
        case 1:
            at = dice.randrange(len(encoded))
            return encoded[:at] + dice.randbytes(dice.randrange(3)) + encoded[at + 1 :]
        case _:
            return json.dumps({**whole, dice.choice(fields): dice.choice(values)}).encode()
