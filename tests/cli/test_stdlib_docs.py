"""The demo's corpus: docstrings read from source files without importing them."""

from pathlib import Path

from cli.stdlib_docs import read_docstrings, standard_library

SOURCE = '''"""A module that says what it is for."""
raise SystemExit("never imported")
class Public:
    """A class with a docstring
    of two lines."""
    async def method(self):
        """A method of it, with a docstring."""
    def _private(self):
        """Long enough to be seen, but private."""
    def short(self):
        """Too short."""
    def without(self): ...
def function():
    "A function; an old escape: \\d stands in it."
'''


def read(folder: Path) -> dict[str, str]:
    return {text.id: text.text for text in read_docstrings(folder)}


def test_docstrings_of_modules_classes_and_functions_are_found(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text(SOURCE)
    assert read(tmp_path) == {
        "package": "package: A module that says what it is for.",
        "package.Public": "package.Public: A class with a docstring\nof two lines.",
        "package.Public.method": "package.Public.method: A method of it, with a docstring.",
        "package.function": "package.function: A function; an old escape: \\d stands in it.",
    }


def test_tests_private_modules_and_other_peoples_packages_are_left_out(tmp_path: Path) -> None:
    for place in ("site-packages/a.py", "test/b.py", "email/test/c.py", "_d.py", "_e/f.py"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(SOURCE)
    assert read(tmp_path) == {}


def test_files_that_python_refuses_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def (:\n")
    (tmp_path / "binary.py").write_bytes(b"\0\xff")
    (tmp_path / "deep.py").write_text("(" * 5000)
    (tmp_path / "half.py").write_text('"""Half of a pair: \\ud800 in a docstring."""\n')
    (tmp_path / "good.py").write_text(SOURCE)
    assert "good.Public" in read(tmp_path)
    assert all(name.startswith("good") for name in read(tmp_path))


def test_this_pythons_library_has_thousands() -> None:
    texts = read(standard_library())
    assert len(texts) > 3000
    assert "whitespace" in texts["textwrap.dedent"]
