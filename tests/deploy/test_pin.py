"""`constraints.txt` pins what `pyproject.toml` asks for, to the versions that these tests run with."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.pin import NOT_PINNED, closure

ROOT = Path(__file__).resolve().parents[2]
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINS = dict(line.split("==") for line in LINES)


def test_every_line_is_one_exact_version() -> None:
    assert not [line for line in LINES if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.!+]*", line)]
    assert sorted(LINES, key=lambda line: line.split("==")[0]) == LINES
    assert len(PINS) == len(LINES)


def test_every_requirement_of_the_project_is_pinned_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    named = [Requirement(line) for group in groups for line in group]
    requirements = {canonicalize_name(needed.name): needed for needed in named}
    for name in requirements.keys() - NOT_PINNED:
        assert requirements[name].specifier.contains(PINS[name]), name


def test_the_tests_run_with_what_is_pinned() -> None:
    """Without the extra `llama`, which is built here and may be missing."""
    installed = closure(("bert", "dev", "parquet"))
    assert {name: PINS.get(name) for name in installed} == installed
