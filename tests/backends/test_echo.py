from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.echo import EchoBackend
from backends.errors import LoadFailed
from backends.types import Done, Event, Failed, Lane, Part, Started, decode_result
from configs.models import ModelSpec
from tests.backends.engine_driver import part


class ListFeed:
    """A feed that was filled before: gives its parts as they are asked for, then is closed."""

    def __init__(self, parts: list[Part], cancelled: frozenset[int] = frozenset()) -> None:
        self._parts = list(parts)
        self._cancelled = cancelled

    def take(self, n: int, *, wait: float | None = 0.0) -> list[Part]:
        taken, self._parts = self._parts[:n], self._parts[n:]
        return taken

    def cancelled(self) -> frozenset[int]:
        return self._cancelled

    @property
    def closed(self) -> bool:
        return not self._parts


def spec(limits: dict[str, int] | None = None, **options: Any) -> ModelSpec:
    return ModelSpec(name="echo", family="echo", options=options, limits=limits or {})


def run(spec: ModelSpec, *parts: Part, cancelled: frozenset[int] = frozenset()) -> list[Event]:
    backend = EchoBackend.load(spec, Path(), 1)
    return list(backend.run(ListFeed(list(parts), cancelled)))


def vector(spec: ModelSpec, **fields: Any) -> np.ndarray:
    events = run(spec, part(1, **fields))
    assert isinstance(events[-1], Done)
    embedding = decode_result(events[-1].data)
    return np.frombuffer(embedding.vectors, "<f4").reshape(-1, embedding.dimensions)


def test_the_same_input_gives_the_same_vector_on_every_machine() -> None:
    first = vector(spec(), input="a small text")[0]
    expected = [-0.3897, 0.5257, -0.1491, 0.7116, -0.0297, 0.0954, 0.1777, 0.0398]
    np.testing.assert_allclose(first, expected, atol=1e-3)


def test_different_inputs_give_different_vectors() -> None:
    rows = vector(spec(dimensions=64), input=["a", "b", "a b"])
    assert np.abs(rows @ rows.T - np.eye(3)).max() < 0.6


def test_words_and_ids_count_as_tokens() -> None:
    events = run(spec(), part(1, input=["one two", "three"]), part(2, input=[5, 6, 7]))
    assert [event.units for event in events if isinstance(event, Done)] == [3, 3]


def test_every_part_is_started_before_it_is_done() -> None:
    events = run(spec(), part(1, input="a"), part(2, input="b"))
    assert isinstance(events[0], Started)
    assert events[0].keys == [1, 2]
    assert [event.key for event in events[1:] if isinstance(event, Done)] == [1, 2]


def test_with_a_delay_parts_are_started_one_by_one_interactive_ones_first() -> None:
    urgent = part(3, input="c", lane=Lane.INTERACTIVE)
    events = run(spec(delay_ms=0.1), part(1, input="a"), part(2, input="b"), urgent)
    assert [event.keys for event in events if isinstance(event, Started)] == [[3], [1], [2]]


def test_cancelled_parts_are_dropped() -> None:
    events = run(spec(), part(1, input="a"), part(2, input="b"), cancelled=frozenset({1}))
    assert events[0] == Started([2])
    assert len(events) == 2


def test_an_overlong_input_fails_cut_or_is_averaged() -> None:
    short = spec(limits={"max_tokens": 2})
    events = run(short, part(1, input=["a", "a b c"]))
    assert isinstance(events[-1], Failed)
    assert events[-1].error.code == "context_length_exceeded"
    assert "input 1 has 3 tokens" in events[-1].error.message
    head, tail = vector(short, input="a b")[0], vector(short, input="c")[0]
    mean = (head + tail) / np.linalg.norm(head + tail)
    np.testing.assert_allclose(vector(short, input="a b c", overlong="truncate")[0], head)
    np.testing.assert_allclose(vector(short, input="a b c", overlong="chunk_mean")[0], mean, atol=1e-6)


def test_a_body_without_a_model_is_taken_as_one_for_this_model() -> None:
    events = run(spec(), part(1, body=b'{"input": "x"}'))
    assert isinstance(events[-1], Done)


@pytest.mark.parametrize(
    "options",
    [
        {"dimensions": 0},
        {"dimensions": 10**9},
        {"dimensions": "8"},
        {"delay_ms": -1},
        {"delay_ms": float("nan")},
        {"delay_ms": float("inf")},
        {"dimension": 8},
    ],
)
def test_options_that_make_no_sense_fail_the_load(options: dict[str, Any]) -> None:
    with pytest.raises(LoadFailed, match=r"'echo': options"):
        EchoBackend.load(spec(**options), Path(), 1)


def test_an_error_of_a_piece_names_the_input_as_the_caller_counts_it() -> None:
    body = b'[256, {"input": ["a", "a b c"]}]'
    events = run(spec(limits={"max_tokens": 2}), part(1, body=body))
    assert isinstance(events[-1], Failed)
    assert events[-1].error.message.startswith("input 257 has 3 tokens")
