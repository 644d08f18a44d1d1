"""whisper.cpp's warping gives each token the time of the one after it; that is undone."""

from types import SimpleNamespace

import pytest

from backends.whisper.ggml_file import Sizes
from backends.whisper.whispercpp_heads import PRESETS, preset_of, token_starts


@pytest.mark.parametrize(
    ("vocabulary", "width", "layers", "mels", "preset"),
    [
        (51864, 384, 4, 80, PRESETS.WHISPER_AHEADS_TINY_EN),
        (51865, 384, 4, 80, PRESETS.WHISPER_AHEADS_TINY),
        (51866, 1280, 32, 128, PRESETS.WHISPER_AHEADS_LARGE_V3),
        (51866, 1280, 4, 128, PRESETS.WHISPER_AHEADS_LARGE_V3_TURBO),
        (51864, 1280, 32, 80, PRESETS.WHISPER_AHEADS_N_TOP_MOST),  # there was no such English model
        (51865, 1280, 2, 80, PRESETS.WHISPER_AHEADS_N_TOP_MOST),
    ],
)
def test_known_models_have_known_heads(vocabulary: int, width: int, layers: int, mels: int, preset: object):
    assert preset_of(sizes(vocabulary, width, layers, mels)) == preset


def test_a_token_begins_at_the_time_of_the_one_before_it_less_the_lag():
    tokens = [SimpleNamespace(t_dtw=time) for time in (54, 88, 118, 200)]
    assert token_starts(tokens, sizes(51864, 384, 4, 80)) == [0, 6720, 12_160, 16_960]


def test_a_token_without_a_time_begins_with_the_one_before_it():
    tokens = [SimpleNamespace(t_dtw=time) for time in (54, -1, 118, 200)]
    assert token_starts(tokens, sizes(51864, 384, 4, 80)) == [0, 6720, 6720, 16_960]


def test_a_text_without_tokens_begins_nowhere_else():
    assert token_starts([], sizes(51864, 384, 4, 80)) == [0]


def sizes(vocabulary: int, width: int, layers: int, mels: int) -> Sizes:
    return Sizes(
        vocabulary=vocabulary,
        positions=1500,
        hidden=width,
        heads=6,
        encoder_layers=4,
        text_positions=448,
        text_hidden=width,
        text_heads=6,
        decoder_layers=layers,
        mels=mels,
        type=1,
    )
