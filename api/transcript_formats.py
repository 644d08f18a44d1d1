"""The formats of transcripts that a query names, and its rules for captions."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query

from api.errors import ApiError
from api.job_filters import Several
from backends.transcription import CAPTION_BOUNDS, FORMATS, Format
from tasks.transcripts.formats import ENDINGS

_BY_NAME: dict[str, Format] = {ending: name for name, ending in ENDINGS.items()}
_BY_NAME |= {name: name for name in FORMATS}


def _within(name: str) -> Any:
    least, most = CAPTION_BOUNDS[name]
    return Query(ge=least, le=most, description="of captions (srt, vtt, lrc)")


@dataclass(frozen=True, kw_only=True)
class TranscriptQuery:
    """What is left out is as each request asked."""

    formats: Several = None
    max_line_chars: Annotated[int | None, _within("max_line_chars")] = None
    max_lines: Annotated[int | None, _within("max_lines")] = None
    max_seconds: Annotated[float | None, _within("max_seconds")] = None

    @property
    def captions(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in CAPTION_BOUNDS}
        return {name: value for name, value in given.items() if value is not None}


def formats_of(given: list[str] | None, param: str = "formats") -> tuple[Format, ...]:
    """By their names or the endings of their files (`txt`), each once; with commas between or each by itself.

    Raises `ApiError` (invalid_value).
    """
    names = [name for text in given or [] for name in map(str.strip, text.split(","))]
    for name in names:
        if name not in _BY_NAME:
            message = f"Invalid '{param}' '{name[:40]}'; it must be of {', '.join(FORMATS)}."
            raise ApiError("invalid_value", message, param=param)
    return tuple(dict.fromkeys(_BY_NAME[name] for name in names))
