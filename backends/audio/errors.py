"""What may be wrong with a recording, and FFmpeg's errors as ours: the one place that maps them."""

from collections.abc import Iterator
from contextlib import contextmanager

import av.error

from backends.errors import InvalidBody, PartFailed


def invalid_audio(why: str) -> InvalidBody:
    """The bytes are no recording, or too damaged to be one. `why` is a clause about 'the file'."""
    return InvalidBody(f"The file cannot be transcribed: {why}.", code="invalid_audio", param="file")


def no_audio_stream() -> InvalidBody:
    return InvalidBody("The file has no audio stream.", code="no_audio_stream", param="file")


def empty_audio(why: str) -> InvalidBody:
    return InvalidBody(f"There is nothing to transcribe: {why}.", code="empty_audio", param="file")


def encrypted_audio() -> InvalidBody:
    return InvalidBody(
        "The recording is encrypted, and cannot be played without its key.",
        code="encrypted_audio",
        param="file",
    )


@contextmanager
def media_errors() -> Iterator[None]:
    """Raises `InvalidBody` (invalid_audio) for what FFmpeg says of the bytes, `PartFailed` (file_not_found,
    engine_error) where the file itself cannot be had."""
    try:
        yield
    except FileNotFoundError as error:  # FFmpeg's is of this kind: deleted since the part was handed over
        reason = "The recording is not there: it is no longer kept"
        raise PartFailed(reason, code="file_not_found") from error
    except PermissionError as error:
        raise PartFailed(f"The recording cannot be read: {error.strerror}", code="engine_error") from error
    except (av.error.InvalidDataError, av.error.ArgumentError) as error:  # the latter: none of our formats
        raise invalid_audio("it is not a recording, or damaged") from error
    except av.error.EOFError as error:
        raise invalid_audio("it ends before its sound begins") from error
    except (av.error.FFmpegError, av.error.PyAVCallbackError) as error:
        raise invalid_audio(f"it cannot be read ({_said(error)})") from error


def _said(error: Exception) -> str:
    """FFmpeg's words without the path, which is ours."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
