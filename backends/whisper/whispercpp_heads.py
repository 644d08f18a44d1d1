"""Which heads whisper.cpp reads word times from, and what it makes of them.

It can time tokens in two ways. The one by time tokens was wrong by 0.5 to 1 s in the mean: for it, a window
that is heard in one pass ends at 30 s. The other is Whisper's own, `t_dtw` (attention of known heads, dynamic
time warping), but shifted: each token has the time of the one after it. With that undone, words begin within
64 ms in the mean on cli/clips; it costs a tenth more.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import _pywhispercpp as native

from backends.whisper.ggml_file import Sizes
from backends.whisper.window import RATE

PRESETS = native.whisper_alignment_heads_preset
# Presets by layers and width of the decoder: of English models, and of those of several languages. Large
# models differ in the number of mel bands alone.
_KNOWN: dict[tuple[int, int, int], tuple[Any, Any]] = {
    (4, 384, 80): (PRESETS.WHISPER_AHEADS_TINY_EN, PRESETS.WHISPER_AHEADS_TINY),
    (6, 512, 80): (PRESETS.WHISPER_AHEADS_BASE_EN, PRESETS.WHISPER_AHEADS_BASE),
    (12, 768, 80): (PRESETS.WHISPER_AHEADS_SMALL_EN, PRESETS.WHISPER_AHEADS_SMALL),
    (24, 1024, 80): (PRESETS.WHISPER_AHEADS_MEDIUM_EN, PRESETS.WHISPER_AHEADS_MEDIUM),
    (32, 1280, 80): (PRESETS.WHISPER_AHEADS_NONE, PRESETS.WHISPER_AHEADS_LARGE_V2),
    (32, 1280, 128): (PRESETS.WHISPER_AHEADS_NONE, PRESETS.WHISPER_AHEADS_LARGE_V3),
    (4, 1280, 128): (PRESETS.WHISPER_AHEADS_NONE, PRESETS.WHISPER_AHEADS_LARGE_V3_TURBO),
}
# By how much they look later than a word begins, in samples: the median over the words of cli/clips against
# a forced alignment (tests/references/whisper_words.py), for known heads and for all of the last layer.
LAG, LAG_OF_LAYER = RATE * 12 // 100, RATE * 6 // 100
MEMORY = 256 << 20  # bytes that the warping may take; twice whisper.cpp's default, as a layer has more heads
_CENTISECOND = RATE // 100


def preset_of(sizes: Sizes) -> Any:
    """The heads that are known of a model of such sizes, else all of its last layer (N_TOP_MOST)."""
    named = _KNOWN.get((sizes.decoder_layers, sizes.text_hidden, sizes.mels))
    preset = named[sizes.multilingual] if named else PRESETS.WHISPER_AHEADS_NONE
    return PRESETS.WHISPER_AHEADS_N_TOP_MOST if preset == PRESETS.WHISPER_AHEADS_NONE else preset


def ask_for_times(params: Any, sizes: Sizes) -> None:
    """Set the parameters of a model that is to be loaded so that its calls give `t_dtw`."""
    params.flash_attn = False  # it does not show where a head looks
    params.dtw_token_timestamps = True
    params.dtw_aheads_preset = preset_of(sizes)
    params.dtw_n_top = 1
    params.dtw_mem_size = MEMORY


def token_starts(tokens: Sequence[Any], sizes: Sizes) -> list[int]:
    """Where each token of a text begins, in samples from the window's beginning."""
    known = preset_of(sizes) != PRESETS.WHISPER_AHEADS_N_TOP_MOST
    lag = LAG if known else LAG_OF_LAYER
    return [0, *accumulate((token.t_dtw * _CENTISECOND - lag for token in tokens[:-1]), max)]
