"""The options of a spec, as the code reads them and as docs/bert.md lists them."""

import re
from pathlib import Path

import pytest

from backends.bert.options import OPTIONS, check_options
from backends.errors import LoadFailed
from configs.models import ModelSpec
from configs.spec_files import read_spec

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "bert.md").read_text()


def test_an_option_that_nothing_reads_is_refused_by_name() -> None:
    check_options(ModelSpec(name="m", family="bert", options=dict.fromkeys(OPTIONS)))
    with pytest.raises(LoadFailed, match="'poolin'") as caught:
        check_options(ModelSpec(name="m", family="bert", options={"pooling": "cls", "poolin": "mean"}))
    assert caught.value.code == "model_load_failed"


def test_every_option_is_read_somewhere() -> None:
    source = "".join(path.read_text() for path in (ROOT / "backends" / "bert").glob("*.py"))
    for name in OPTIONS:
        assert f'options.get("{name}"' in source or f'spec, "{name}"' in source


def test_the_page_lists_every_option_and_no_other() -> None:
    section = PAGE.partition("## Options of a spec")[2].partition("```")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(OPTIONS)


def test_the_spec_on_the_page_is_a_valid_one(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(PAGE.partition("```yaml\n")[2].partition("```")[0])
    spec = read_spec(tmp_path / "spec.yaml")
    assert spec.family == "bert"
    check_options(spec)
