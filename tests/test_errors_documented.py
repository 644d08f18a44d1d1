"""`docs/errors.md`, the catalogue and the source name the same error codes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from configs.error_codes import CODES

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "backends", "cli", "configs", "store", "tasks")
ROW = re.compile(r"\| `(?P<code>\w+)` \| (?P<status>\d{3}) \| (?P<meaning>.+?) \|")

# Calls whose first argument is a code; everywhere else it is the keyword `code`.
FIRST_ARGUMENT = ("ApiError", "ErrorInfo", "error_response", "error_body")


def documented() -> dict[str, tuple[int, str]]:
    text = (ROOT / "docs" / "errors.md").read_text()
    return {row["code"]: (int(row["status"]), row["meaning"]) for row in ROW.finditer(text)}


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "error_codes.py":
                yield path, ast.parse(path.read_text())


def named_codes(tree: ast.Module) -> Iterator[str]:
    """Codes that are written out where an error is made."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        given = [word.value for word in node.keywords if word.arg == "code"]
        given += node.args[:1] if name in FIRST_ARGUMENT else []
        yield from (value.value for value in given if isinstance(value, ast.Constant) and value.value)


def test_the_page_and_the_catalogue_agree() -> None:
    assert documented() == {code: (kind.status, kind.meaning) for code, kind in CODES.items()}


def test_every_code_that_the_source_names_is_in_the_catalogue() -> None:
    unknown = {
        (path.name, code) for path, tree in sources() for code in named_codes(tree) if code not in CODES
    }
    assert not unknown


def test_every_code_of_the_catalogue_is_used() -> None:
    words = {
        node.value
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert sorted(set(CODES) - words) == []
