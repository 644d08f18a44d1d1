"""The self-test at load: numbers that are not finite show there, and not on an item."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.errors import LoadFailed
from backends.whisper.selftest import check_hearing
from backends.whisper.window import Asking, Heard, Samples, Window
from tests.backends.whisper.tones import LoudnessDetector, ToneRecognizer, heard


class Deaf(ToneRecognizer):
    def recognize(
        self, windows: Sequence[Window], prepared: Sequence[tuple[Window, bool]], asking: Asking
    ) -> list[Heard]:
        return [heard([], avg_logprob=float("nan")) for _ in windows]


class BrokenDetector(LoudnessDetector):
    def probabilities(self, samples: Samples) -> NDArray[np.float32]:
        return np.full(3, np.inf, np.float32)


def test_a_model_that_hears_passes() -> None:
    recognizer = ToneRecognizer()
    check_hearing(recognizer, LoudnessDetector(), "tones")  # type: ignore[arg-type]
    assert [len(windows) for windows in recognizer.recognized] == [3]


@pytest.mark.parametrize(
    ("recognizer", "detector"), [(Deaf(), LoudnessDetector()), (ToneRecognizer(), BrokenDetector())]
)
def test_numbers_that_are_not_finite_are_a_bad_build(
    recognizer: ToneRecognizer, detector: LoudnessDetector
) -> None:
    with pytest.raises(LoadFailed, match="'tones'") as caught:
        check_hearing(recognizer, detector, "tones")  # type: ignore[arg-type]
    assert caught.value.code == "bad_native_build"
