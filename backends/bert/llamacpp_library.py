"""llama.cpp's C functions as the bert family uses them, and its log as the reason of an error.

Importing this module loads the native library into the process: call `backends.builds.require` first.
"""

import ctypes
import os
import sys
from collections import deque
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as native

from backends.errors import LoadFailed

# An abort would start a debugger on the dying process to print a backtrace: seconds, and it may hang.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")

LOG_ERROR = 4  # enum ggml_log_level, ggml.h
FLASH_ATTENTION_ON = 1  # enum llama_flash_attn_type, llama.h
_last_errors: deque[str] = deque(maxlen=3)


@native.llama_log_callback  # type: ignore[untyped-decorator]  # ctypes makes it a C function
def _log(level: int, text: bytes, _: Any) -> None:
    """Errors go to stderr, which the engine's parent turns into log records; the rest is chatter. The
    last ones are kept, since the C functions return no more than NULL."""
    if level != LOG_ERROR:
        return
    line = text.decode(errors="replace")
    sys.stderr.write(line)
    if line.strip():
        _last_errors.append(line.strip())


native.llama_log_set(_log, ctypes.c_void_p(0))
native.llama_backend_init()


def load_model(path: Path, *, vocabulary_only: bool = False) -> Any:
    """The handle of a model (free it with `free_model`). Raises `LoadFailed` with llama.cpp's reason."""
    _last_errors.clear()
    params = native.llama_model_default_params()
    params.vocab_only = vocabulary_only
    params.n_gpu_layers = 0
    handle = native.llama_model_load_from_file(str(path).encode(), params)
    if not handle:
        raise LoadFailed(f"llama.cpp refuses {path.name}: {_reason()}", code="model_load_failed")
    return handle


def new_context(handle: Any, *, tokens: int, rows: int, pooling: int, threads: int) -> Any:
    """A context that embeds up to `rows` sequences of `tokens` tokens in all per call.

    Attention here looks both ways, so that a call must be one micro-batch (llama.cpp aborts the process
    otherwise): n_ubatch = n_batch. Flash attention is the largest lever on a CPU, 3x as measured.
    """
    _last_errors.clear()
    params = native.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = tokens
    params.n_seq_max = rows
    params.kv_unified = True  # n_ctx holds for the call, not for each sequence
    params.n_threads = params.n_threads_batch = threads
    params.embeddings = True
    params.pooling_type = pooling
    params.flash_attn_type = FLASH_ATTENTION_ON
    params.offload_kqv = params.op_offload = False
    context = native.llama_init_from_model(handle, params)
    if not context:
        raise LoadFailed(f"llama.cpp cannot make a context: {_reason()}", code="model_load_failed")
    return context


def free_context(context: Any) -> None:
    native.llama_free(context)


def free_model(handle: Any) -> None:
    native.llama_model_free(handle)


def _reason() -> str:
    return "; ".join(_last_errors) or "it gave no reason"
