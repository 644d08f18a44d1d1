"""The options of a spec, as the code reads them and as docs/whisper.md lists them."""

import re
from pathlib import Path

from configs.families import IMPORTERS, WhisperOptions
from configs.spec_files import read_spec

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "whisper.md").read_text()


def test_every_option_is_read_somewhere() -> None:
    folders = (ROOT / "backends" / "whisper", ROOT / "tasks", ROOT / "api")
    source = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    for name in WhisperOptions.model_fields:
        assert f'options.get("{name}")' in source, name


def test_the_page_lists_every_option_and_no_other() -> None:
    section = PAGE.partition("## Options of a spec")[2].partition("## Models")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(WhisperOptions.model_fields)


def test_the_page_names_every_type_that_the_importer_makes() -> None:
    types = "|".join(IMPORTERS["whisper_ggml"]["type"])
    assert f"import:whisper_ggml?type={types}" in PAGE


def test_the_specs_on_the_page_are_valid_ones(tmp_path: Path) -> None:
    specs = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(specs) == 2
    for text in specs:
        (tmp_path / "spec.yaml").write_text(text)
        assert read_spec(tmp_path / "spec.yaml").family == "whisper"
