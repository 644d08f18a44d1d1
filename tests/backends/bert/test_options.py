"""The options of a spec, as the code reads them and as docs/bert.md lists them."""

import re
from pathlib import Path

from configs.families import BertOptions
from configs.spec_files import read_spec

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "bert.md").read_text()


def test_every_option_is_read_somewhere() -> None:
    source = "".join(path.read_text() for path in (ROOT / "backends" / "bert").glob("*.py"))
    for name in BertOptions.model_fields:
        assert f'options.get("{name}"' in source or f'spec, "{name}"' in source


def test_the_page_lists_every_option_and_no_other() -> None:
    section = PAGE.partition("## Options of a spec")[2].partition("```")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(BertOptions.model_fields)


def test_the_spec_on_the_page_is_a_valid_one(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(PAGE.partition("```yaml\n")[2].partition("```")[0])
    spec = read_spec(tmp_path / "spec.yaml")
    assert spec.family == "bert"
