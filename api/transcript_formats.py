"""The formats of transcripts that a query names."""

from api.errors import ApiError
from backends.transcription import FORMATS, Format
from tasks.transcripts.formats import ENDINGS

_BY_NAME: dict[str, Format] = {ending: name for name, ending in ENDINGS.items()} | {
    name: name for name in FORMATS
}


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
