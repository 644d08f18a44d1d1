"""JSON files of a model's folder, with errors that name the file and never show a path or a traceback."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from backends.errors import LoadFailed

T = TypeVar("T")


def find(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of `names` that lies in `folder`."""
    return next((folder / name for name in names if (folder / name).exists()), None)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises `LoadFailed` (missing, unreadable, not JSON, not an object)."""
    return _read(path, dict[str, Any])


def read_list(path: Path) -> list[dict[str, Any]]:
    """The JSON list of objects in `path`. Raises `LoadFailed`."""
    return _read(path, list[dict[str, Any]])


def whole_number(config: dict[str, Any], path: Path, *names: str) -> int:
    """The positive whole number under the first of `names` that `config` has. Raises `LoadFailed`."""
    name = next((name for name in names if name in config), names[0])
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise LoadFailed(
            f"{path.name}: '{name}' must be a positive whole number, not {value!r}", code="model_load_failed"
        )
    return value


def _read(path: Path, form: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=form)
    except FileNotFoundError:
        raise LoadFailed(f"the model's folder has no {path.name}", code="model_load_failed") from None
    except (OSError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise LoadFailed(f"{path.name} cannot be read: {reason}", code="model_load_failed") from None
