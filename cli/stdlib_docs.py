"""The corpus of the demo: the docstrings of Python's standard library, read from its source files.

Real text that every machine with Python has. Nothing is imported, only parsed.
"""

import ast
import inspect
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from cli.texts import Text

LEAST_CHARACTERS = 20  # shorter ones say nothing that a search could find
LEFT_OUT = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def read_docstrings(folder: Path) -> Iterator[Text]:
    """Every docstring below `folder`, as 'qualified name: docstring', in the order of the files.

    Names that begin with an underscore are left out: they are private, or copies of public ones.
    """
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder)
        module = _module_name(place)
        if LEFT_OUT.isdisjoint(place.parts) and _is_public(module):
            yield from _docstrings_of(path, module)


def _module_name(place: Path) -> str:
    parts = place.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _docstrings_of(path: Path, module: str) -> Iterator[Text]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in old modules
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):  # files that show what Python refuses
        return
    for name, node in _named(tree, module):
        docstring = ast.get_docstring(node, clean=False)
        if docstring and len(docstring) >= LEAST_CHARACTERS and _is_text(docstring):
            yield Text(id=name, text=f"{name}: {inspect.cleandoc(docstring)}")


def _named(node: Documented, name: str) -> Iterator[tuple[str, Documented]]:
    yield name, node
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(
            child.name
        ):
            yield from _named(child, f"{name}.{child.name}")


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _is_text(docstring: str) -> bool:
    """Half of a surrogate pair can stand in Python's source, not in UTF-8."""
    return docstring.isascii() or not any("\ud800" <= char <= "\udfff" for char in docstring)
