"""The documents are true: examples run, links lead somewhere, tables agree with the code."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from cli.demo import QUESTIONS
from cli.exit_codes import ExitCode
from configs.models import ModelSpec
from configs.settings import OTHER_VARIABLES, Settings
from store.embedded.services import EmbeddedServices
from store.tables import Base
from tests.fixtures.commands import find_command, options_of, parse_command
from tests.fixtures.markdown import (
    DOCUMENTS,
    ROOT,
    Block,
    anchors,
    blocks,
    code_spans,
    links,
    prose,
    table,
)
from tests.fixtures.stack import Stack, running_stack

README = ROOT / "README.md"
OPERATIONS = ROOT / "docs" / "operations.md"
GLOSSARY = ROOT / "docs" / "glossary.md"
URL = "http://127.0.0.1:8080"
MOST_README_LINES = 80  # one screen, more or less
FOLDERS = ("api", "backends", "cli", "configs", "migrations", "store", "tasks")

README_BLOCKS = [block for block in blocks(README, "python", "bash") if not block.set_up]
SET_UP = "\n".join(block.text for block in blocks(README, "bash") if block.set_up)
# What the set-up says to do before the examples; the rest of its line may install something.
ACTIVATE = "\n".join(re.findall(r"^source \S+", SET_UP, re.MULTILINE))
SHELL_BLOCKS = [block for document in DOCUMENTS for block in blocks(document, "bash", "sh")]
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


# --- README: what it shows runs ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def live(database_factory: Callable[[], str], minilm_folder: Path, open_folder: Path) -> Iterator[Stack]:
    """The service with the model that the README names."""
    settings = {"families": "bert", "models": str(minilm_folder.parent)}
    database_url = database_factory()
    # A Redis of its own: other tests empty theirs, and count who listens on it.
    with (
        EmbeddedServices(open_folder / "readme-redis", database_url=database_url, durable=False) as own,
        running_stack(open_folder / "readme", database_url, own.redis_url, **settings) as stack,
    ):
        yield stack


def run(block: Block, stack: Stack, folder: Path) -> str:
    """Run a block as a reader would in the checkout `folder`, against `stack`; returns what it printed.

    Nothing of the environment is on the PATH but what the README's own set-up puts there.
    """
    if sys.prefix == sys.base_prefix:
        pytest.skip("the tests do not run in an environment of the kind that `make` makes")
    (folder / ".venv").symlink_to(sys.prefix)
    command = block.text if block.language == "bash" else 'exec python -c "$1"'
    words = ["bash", "-euo", "pipefail", "-c", f"{ACTIVATE}\n{command}", "bash", block.text]
    words = [word.replace(URL, stack.url) for word in words]
    env = {name: value for name, value in os.environ.items() if not name.startswith("BATCHYARD_")}
    elsewhere = [path for path in env["PATH"].split(os.pathsep) if not Path(path, "batchyard").exists()]
    env |= {"PATH": os.pathsep.join(elsewhere), "BATCHYARD_URL": stack.url}
    try:
        ended = subprocess.run(
            words, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=True
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        logs = [f"--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted(stack.home.glob("*.log"))]
        pytest.fail("\n".join([str(error), str(error.stdout), str(error.stderr), *logs]))
    return ended.stdout


def prints_what_it_says(block: Block, printed: str, _folder: Path) -> None:
    (promised,) = re.findall(r"print\(.*\)  # (.+)$", block.text, re.MULTILINE)
    assert printed.strip() == promised


def makes_a_batch(_block: Block, printed: str, _folder: Path) -> None:
    batch = json.loads(printed)
    assert (batch["object"], batch["endpoint"]) == ("batch", "/v1/embeddings")


def writes_a_vector_for_every_file(block: Block, _printed: str, folder: Path) -> None:
    words = shlex.split(block.text)
    lines = (folder / words[words.index("-o") + 1]).read_text().splitlines()
    assert len(lines) == len(list((folder / "docs").iterdir())) + 1
    assert {len(json.loads(line)["embedding"]) for line in lines} == {384}


# An example is known by a piece of it; one without a check fails.
CHECKS = {
    "OpenAI(": prints_what_it_says,
    "curl": makes_a_batch,
    "batchyard embed": writes_a_vector_for_every_file,
}


@pytest.mark.slow
@pytest.mark.parametrize("block", README_BLOCKS, ids=str)
def test_the_examples_of_the_readme_run(block: Block, live: Stack, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(README, tmp_path)
    (check,) = [check for piece, check in CHECKS.items() if piece in block.text]
    check(block, run(block, live, tmp_path), tmp_path)


def test_what_the_examples_import_is_installed_by_what_stands_above_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = project["dependencies"] + project["optional-dependencies"]["bert"]  # what `make up` installs
    named = [name for found in re.findall(r"pip install ([\w -]+)", SET_UP) for name in found.split()]
    installed = {re.split(r"[^\w-]", requirement)[0] for requirement in [*ours, *named]}
    imported = {
        name.partition(".")[0]
        for block in README_BLOCKS
        if block.language == "python"
        for name in re.findall(r"^(?:from|import) (\S+)", block.text, re.MULTILINE)
    }
    assert imported
    assert imported - sys.stdlib_module_names <= installed


def test_the_demo_asks_what_the_readme_shows() -> None:
    (shown,) = blocks(README, "text")
    questions = [line for line in shown.text.splitlines() if line.endswith("?")]
    assert questions
    assert set(questions) <= set(QUESTIONS)


def test_the_readme_fits_a_screen() -> None:
    assert len(README.read_text().splitlines()) <= MOST_README_LINES


def test_the_readme_prints_the_arrows_and_every_folder() -> None:
    text = README.read_text()
    assert "configs ← {backends, store} ← tasks ← api ← cli        migrations → store, configs" in text
    assert all(f"{folder}/" in text for folder in FOLDERS)


# --- commands, paths and links exist -------------------------------------------------------------------


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """The lines that call `batchyard` or `make`, as program and arguments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if re.match(r"(\S*/)?(batchyard|make) ", line):
            program, *words = shlex.split(line, comments=True)
            yield Path(program).name, words


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=str)
def test_commands_in_blocks_exist_with_their_options(block: Block) -> None:
    for program, words in commands(block):
        if program == "make":
            assert words[0] in TARGETS
        else:
            parse_command(words)


def test_commands_in_sentences_exist_with_their_options() -> None:
    spans = [(document.name, span.split()) for document in DOCUMENTS for span in code_spans(document)]
    for name, (program, *words) in spans:
        if program == "make" and words:
            assert words[0] in TARGETS, name
        elif program == "batchyard" and words:
            command, rest = find_command(words[0].split("|")[:1] + words[1:])
            unknown = {word for word in rest if word.startswith("-")} - options_of(command)
            assert not unknown, name


def test_paths_in_sentences_exist() -> None:
    missing = [
        f"{document.name}: {span}"
        for document in DOCUMENTS
        for span in code_spans(document)
        if re.fullmatch(rf"({'|'.join((*FOLDERS, 'docs', 'tests', 'deploy'))})/[\w./-]*", span)
        and not (ROOT / span).exists()
    ]
    assert not missing, "\n".join(missing)


def test_relative_links_resolve() -> None:
    broken = []
    for document in DOCUMENTS:
        for link in links(document):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = (document.parent / path).resolve() if path else document
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{document.name}: {link}")
    assert not broken, "\n".join(broken)


# --- tables agree with the code ------------------------------------------------------------------------


def test_operations_lists_every_setting_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    defaults = dict(line.split("=", 1) for line in lines if line.startswith("BATCHYARD_"))
    rows = []
    for name, field in Settings.model_fields.items():
        variable = f"BATCHYARD_{name.upper()}"
        default = defaults[variable]
        rows.append([f"`{variable}`", f"`{default}`" if default else "", field.description])
    assert table(OPERATIONS, "Settings") == rows


def test_variables_in_sentences_are_settings() -> None:
    known = {f"BATCHYARD_{name.upper()}" for name in Settings.model_fields}
    known |= {f"BATCHYARD_{name}" for name in OTHER_VARIABLES}
    for document in DOCUMENTS:
        assert set(re.findall(r"\bBATCHYARD_[A-Z_]*[A-Z]\b", document.read_text())) <= known, document.name


def test_operations_lists_every_exit_code() -> None:
    codes = [(int(code), bool(meaning)) for code, meaning in table(OPERATIONS, "Exit codes")]
    assert codes == [(code.value, True) for code in ExitCode]


def test_the_model_specs_in_the_documents_are_valid() -> None:
    specs = [block for document in DOCUMENTS for block in blocks(document, "yaml")]
    assert specs
    for block in specs:
        ModelSpec.model_validate(yaml.safe_load(block.text))


# --- the glossary --------------------------------------------------------------------------------------

TERMS = re.findall(
    r"\*\*([\w -]+)\*\*", "\n".join(re.findall(r"^\| (\*\*.*?) \|", prose(GLOSSARY), re.MULTILINE))
)
SOURCES = "\n".join(path.read_text() for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
# Tables that are OpenAI's objects, or rows about a word of the glossary.
NOT_WORDS = {"api_key", "file", "upload", "project", "result", "share"}


def test_the_glossary_has_words() -> None:
    assert {"job", "item", "part", "chunk", "family", "slot", "engine", "lane", "wake-up", "epoch"} <= set(
        TERMS
    )


@pytest.mark.parametrize("term", TERMS)
def test_the_code_uses_the_words_of_the_glossary(term: str) -> None:
    spelled = re.escape(term).replace(r"\-", "[-_ ]").replace(r"\ ", "[-_ ]")
    assert re.search(rf"(?<![a-z]){spelled}", SOURCES, re.IGNORECASE)


def test_every_table_is_named_by_words_of_the_glossary() -> None:
    tables = {name for name in Base.metadata.tables if name not in NOT_WORDS}
    words = {word for name in tables for word in name.split("_") if word not in NOT_WORDS}
    assert words - {"progress", "core"} <= set(TERMS)
