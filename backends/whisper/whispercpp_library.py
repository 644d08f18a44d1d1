"""whisper.cpp's C functions as its Python binding has them, and their failures as errors.

The binding's low level is used, not its `Model`: that ignores return codes, keeps parameters from call to
call, and cannot be asked whether a model was loaded. Importing this module loads the native library.
"""

import atexit
import os
import sys
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

# An abort would start a debugger on the dying process to print a backtrace: seconds, and it may hang. The
# library looks when it is loaded.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")

import _pywhispercpp as native

from backends.errors import LoadFailed, PartFailed
from backends.whisper.ggml_file import Sizes
from backends.whisper.whispercpp_heads import ask_for_times
from backends.whisper.window import Samples

LOG_ERROR = 4  # enum ggml_log_level, ggml.h
# What `whisper_full` returns (whisper.cpp, `whisper_full_with_state`).
FAILURES = {
    -2: "the spectrogram could not be computed",
    -3: "the language could not be detected",
    -4: "too many decoders",
    -5: "more positions than the model has",
    -6: "the encoder failed",
    -7: "no memory for the decoder",
    -8: "the decoder failed on the prompt",
    -9: "the decoder failed",
}
_last_errors: deque[str] = deque(maxlen=3)


def _log(level: int, text: str) -> None:
    """Errors go to stderr, which the engine's parent turns into log records; the rest is chatter."""
    if level == LOG_ERROR and text.strip():
        sys.stderr.write(text)
        _last_errors.append(text.strip())


native.whisper_log_set(_log)
# The library would free the function after the interpreter is gone, which aborts the process.
atexit.register(native.whisper_log_set, None)


def load_model(path: Path, sizes: Sizes) -> Any:
    """The handle of a model that `ggml_file.read_ggml` has found whole, and of `sizes`: of another, using it
    would end the process. Free it with `free_model`. Raises `LoadFailed` with whisper.cpp's reason."""
    _last_errors.clear()
    params = native.whisper_context_default_params()
    params.use_gpu = False
    ask_for_times(params, sizes)
    # Its flash attention rounds positions up to 256 and hears in the rest what earlier calls have left there:
    # windows that are cut short would depend on them, and loop. Without, these are also quicker.
    params.flash_attn = False
    handle = native.whisper_init_from_file_with_params(str(path), params)
    if _last_errors:  # a handle of nothing looks like any other
        raise LoadFailed(f"whisper.cpp refuses {path.name}: {_last_errors[-1]}", code="model_load_failed")
    return handle


def free_model(handle: Any) -> None:
    native.whisper_free(handle)


@cache
def languages() -> list[str]:
    """The codes that whisper.cpp knows in the order of their tokens; a model has the first so many."""
    return [str(native.whisper_lang_str(number)) for number in range(native.whisper_lang_max_id() + 1)]


def language_code(handle: Any) -> str:
    """The language of the last call."""
    return str(native.whisper_lang_str(native.whisper_full_lang_id(handle)))


def new_params(*, beam_size: int, threads: int) -> Any:
    """whisper.cpp's parameters for one window in one pass, all of them set here or by `hear`'s caller.

    Its own second tries are off: what is doubtful is judged by `backends/whisper/guard.py` and heard again,
    as with any runtime.
    """
    strategies = native.whisper_sampling_strategy
    greedy = beam_size == 1
    params = native.whisper_full_default_params(
        strategies.WHISPER_SAMPLING_GREEDY if greedy else strategies.WHISPER_SAMPLING_BEAM_SEARCH
    )
    params.n_threads = threads
    if not greedy:
        params.beam_search = {"beam_size": beam_size, "patience": -1.0}
    params.temperature_inc = 0.0
    params.single_segment = True  # else it encodes again behind the last time token
    params.no_context = True
    params.suppress_nst = True  # as Whisper itself does: no "(applause)"
    params.print_progress = params.print_realtime = params.print_timestamps = params.print_special = False
    return params


def hear(handle: Any, params: Any, samples: Samples) -> list[Any]:
    """What was heard: the tokens of the one segment, none where whisper.cpp takes it for silence.

    Each has id, plog, t_dtw (`whispercpp_heads.py`); time tokens and the end token are among them. Raises
    `PartFailed`. Two threads in one handle would end the process.
    """
    code = native.whisper_full(handle, params, samples, len(samples))
    if code:
        reason = FAILURES.get(code, f"code {code}")
        raise PartFailed(f"whisper.cpp failed: {reason}", code="engine_error")
    return [
        native.whisper_full_get_token_data(handle, segment, number)
        for segment in range(native.whisper_full_n_segments(handle))
        for number in range(native.whisper_full_n_tokens(handle, segment))
    ]
