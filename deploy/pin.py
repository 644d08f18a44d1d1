"""Write `constraints.txt`: the version of every package that Batchyard needs, with every extra.

Run it in an environment where the tests pass: `make pins`. It reads what is installed there, so a pin is
always a version that was tried. Walks the requirements from the project down; a package that nothing
requires is not pinned. `pip` itself is left out: it comes with Python's own venv module.
"""

import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "batchyard"
EXTRAS = ("bert", "dev", "llama", "parquet", "whisper")
NOT_PINNED = frozenset({PROJECT, "pip"})
TARGET = Path(__file__).resolve().parent.parent / "constraints.txt"
HEADER = """\
# Every package that Batchyard needs, direct and transitive, extras and development tools included.
# Made by `make pins` on Python {python}; use it with `pip install -c constraints.txt`.
"""


def requirements(name: str, extras: frozenset[str]) -> list[Requirement]:
    """What the installed `name` needs here, with `extras`."""
    wanted = [Requirement(line) for line in distribution(name).requires or []]
    return [
        needed
        for needed in wanted
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras})
    ]


def closure(extras: Iterable[str] = EXTRAS) -> dict[str, str]:
    """Name → version of all that the project with `extras` reaches. Raises `PackageNotFoundError`."""
    pins: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(PROJECT, frozenset(extras))]
    while waiting:
        name, of = waiting.pop()
        if (name, of) in seen:
            continue
        seen.add((name, of))
        pins[name] = distribution(name).version
        waiting += [
            (canonicalize_name(needed.name), frozenset(needed.extras)) for needed in requirements(name, of)
        ]
    return {name: version for name, version in sorted(pins.items()) if name not in NOT_PINNED}


def main() -> int:
    try:
        pins = closure()
    except PackageNotFoundError as missing:
        print(f"{missing.name} is not installed here; run `make bindings` first", file=sys.stderr)
        return 1
    python = ".".join(map(str, sys.version_info[:2]))
    TARGET.write_text(
        HEADER.format(python=python) + "".join(f"{name}=={version}\n" for name, version in pins.items())
    )
    print(f"{TARGET.name}: {len(pins)} packages pinned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
