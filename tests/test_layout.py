"""The shape of the repository: what may import what, how long things are, where SQL may stand."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# configs <- {backends, store} <- tasks <- api <- cli;  migrations -> store, configs
MAY_IMPORT: dict[str, set[str]] = {
    "configs": set(),
    "backends": {"configs"},
    "store": {"configs"},
    "tasks": {"configs", "backends", "store"},
    "api": {"configs", "backends", "store", "tasks"},
    "cli": {"configs", "backends", "store", "tasks", "api"},
    "migrations": {"configs", "store"},
}
OURS = frozenset(MAY_IMPORT)
SCRIPTS = ("benchmarks", "deploy", "tests")  # these may import anything, and nothing imports them

NATIVE = (
    "_pywhispercpp",
    "av",
    "ctranslate2",
    "gguf",
    "llama_cpp",
    "openvino",
    "openvino_genai",
    "pywhispercpp",
    "tokenizers",
)
ENTRY_POINTS = (
    "api.app",
    "tasks.app",
    "tasks.worker",
    "tasks.deliver",
    "tasks.dispatcher",
    "tasks.supervisor",
    "cli.main",
)

VAGUE_NAMES = re.compile(r"(utils?|commons?|helpers?|core|misc)")
SQL = re.compile(
    r"\bSELECT\b[^;]*\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\s+\w+\s+SET\b|\bDELETE\s+FROM\b|\bTRUNCATE\b"
    r"|\b(CREATE|ALTER|DROP)\s+(TABLE|INDEX|DATABASE|TYPE|EXTENSION)\b|\bFOR\s+UPDATE\b|\bpg_\w*lock",
)
MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 70

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(path: Path, node: ast.stmt | ast.expr | None = None) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{node.lineno}" if node else "")


def imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """Every module that is imported anywhere in the file, also inside functions and for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node, node.module or ""


def docstrings(tree: ast.Module) -> set[int]:
    """Ids of the nodes that are docstrings: prose may say what SQL says."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_follow_the_arrows(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    against = [
        f"{place(path, node)} imports {module}"
        for path in sources(package)
        for node, module in imports(tree_of(path))
        if (top := module.partition(".")[0]) in OURS | set(SCRIPTS) and top not in allowed
    ]
    assert not against, "\n".join(against)


def test_every_folder_with_python_is_known_here() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("[a-z]*/*.py")}
    assert folders <= OURS | set(SCRIPTS)


def test_imports_are_absolute() -> None:
    relative = [
        place(path, node)
        for path in sources(*OURS, *SCRIPTS)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative, "\n".join(relative)


def test_init_files_are_empty_and_tests_have_none() -> None:
    filled = [
        place(path) for path in sources(*OURS) if path.name == "__init__.py" and path.read_text().strip()
    ]
    assert not filled, "\n".join(filled)
    assert not [path for path in sources("tests") if path.name == "__init__.py"]


def test_every_package_folder_is_a_package() -> None:
    bare = {path.parent for path in sources(*OURS)} - {
        path.parent for path in sources(*OURS) if path.name == "__init__.py"
    }
    assert not {place(folder) for folder in bare} - {"migrations/versions"}


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [
        place(path)
        for path in sources(*OURS, *SCRIPTS)
        if any(VAGUE_NAMES.fullmatch(part) for part in path.relative_to(ROOT).with_suffix("").parts)
    ]
    assert not vague, "\n".join(vague)


def test_files_are_short() -> None:
    lengths = {place(path): len(path.read_text().splitlines()) for path in sources(*OURS, *SCRIPTS)}
    long = {name: lines for name, lines in lengths.items() if lines > MOST_FILE_LINES}
    assert not long


def test_functions_are_short() -> None:
    long = [
        f"{place(path, node)} {node.name}: {lines} lines"
        for path in sources(*OURS, *SCRIPTS)
        if path.parent.name != "versions"  # a migration is one list of statements
        for node in ast.walk(tree_of(path))
        if isinstance(node, Function)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_sql_stands_only_in_store_and_migrations() -> None:
    found = []
    for path in sources(*OURS - {"store", "migrations"}):
        tree = tree_of(path)
        prose = docstrings(tree)
        found += [
            f"{place(path, node)} {node.value[:60]!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in prose
            and SQL.search(node.value)
        ]
        found += [
            f"{place(path, node)} imports {module}"
            for node, module in imports(tree)
            if module.partition(".")[0] in ("sqlalchemy", "alembic")
        ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", sorted(OURS))
def test_packages_come_from_this_repository(package: str) -> None:
    """A stray top-level `api` or `tasks` in site-packages would stand before an editable install."""
    found = importlib.import_module(package).__file__
    assert found is not None
    assert Path(found).resolve().is_relative_to(ROOT)


@pytest.mark.parametrize("module", ENTRY_POINTS)
def test_starting_a_part_loads_no_native_library(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({NATIVE!r})))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == []


def test_native_libraries_are_imported_by_backends_only() -> None:
    outside = [
        f"{place(path, node)} imports {module}"
        for path in sources(
            *OURS - {"backends", "cli"}
        )  # `doctor` asks the installed ones for their versions
        for node, module in imports(tree_of(path))
        if module.partition(".")[0] in NATIVE
    ]
    assert not outside, "\n".join(outside)
