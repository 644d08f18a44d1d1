"""The graph of the alignment heads' attention: what does not count has no influence."""

from collections.abc import Callable

import numpy as np
import openvino as ov
import pytest

from backends.whisper.alignment_graph import build_alignment
from backends.whisper.compiled import compile_graph
from backends.whisper.weights import Weights
from tests.fixtures.tiny_whisper import HIDDEN, write_tiny_whisper

Infer = Callable[..., np.ndarray]

POSITIONS = 60


@pytest.fixture(scope="module")
def infer(tmp_path_factory: pytest.TempPathFactory) -> Infer:
    folder = tmp_path_factory.mktemp("whisper")
    write_tiny_whisper(folder)
    weights = Weights.read(folder)

    def build() -> ov.Model:
        return build_alignment(weights, [(1, 1), (0, 0)])

    request = compile_graph("alignment", build, weights, folder, 1, "f32").create_infer_request()

    def infer(states: np.ndarray, tokens: list[list[int]], frames: list[int]) -> np.ndarray:
        widths = np.array([len(row) for row in tokens])
        ids = np.full((len(tokens), widths.max()), 7)
        for line, row in zip(ids, tokens, strict=True):
            line[: len(row)] = row
        request.infer([states, ids, widths, np.array(frames)])
        return np.array(request.get_output_tensor(0).data)

    return infer


def states(windows: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((windows, POSITIONS, HIDDEN)).astype(np.float32)


def test_a_window_has_the_same_attention_alone_and_among_others(infer: Infer):
    tokens = [[50257, 300, 301], [50257, 9, 8, 7, 6, 5], [50257, 40]]
    frames = [30, 60, 45]
    together = infer(states(3), tokens, frames)
    for row, (ids, count) in enumerate(zip(tokens, frames, strict=True)):
        alone = infer(states(3)[row : row + 1], [ids], [count])
        inside = np.s_[: len(ids), :count]
        np.testing.assert_allclose(together[row][inside], alone[0][inside], atol=1e-4)


def test_attention_is_of_mean_0_over_the_tokens_and_of_variance_1_in_each_head(infer: Infer):
    attention = infer(states(2), [[50257, 300, 301, 302], [50257, 9]], [30, 60])
    np.testing.assert_allclose(attention[0, :4, :30].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(attention[1, :2].mean(axis=0), 0, atol=1e-4)
    assert attention[0, :4, :30].std(axis=0).max() <= 1.001  # the mean of heads that differ varies less
    assert attention[0, :4, :30].std(axis=0).mean() > 0.3
