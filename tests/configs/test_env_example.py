"""`.env.example` and `Settings` say the same: names, descriptions, defaults."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from configs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "BATCHYARD_"


def examples() -> dict[str, tuple[str, str]]:
    """Variable → its value, and the comment above it."""
    found, comment = {}, ""
    for line in (ROOT / ".env.example").read_text().splitlines():
        if line.startswith("#"):
            comment = line.removeprefix("# ")
        elif line:
            name, _, value = line.partition("=")
            assert name not in found, f"{name} is there twice"
            found[name] = (value, comment)
    return found


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_every_setting_is_listed_in_order() -> None:
    ours = [name for name in examples() if name.startswith(PREFIX)]
    assert ours == [PREFIX + name.upper() for name in Settings.model_fields]


def test_other_variables_are_those_of_the_compose_file() -> None:
    others = [name for name in examples() if not name.startswith(PREFIX)]
    compose = (ROOT / "docker-compose.yml").read_text()
    assert others == [name for name in others if f"${{{name}" in compose]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_comment_is_the_description(name: str) -> None:
    assert examples()[PREFIX + name.upper()][1] == Settings.model_fields[name].description


@pytest.mark.usefixtures("no_variables")
def test_copying_it_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Settings()
    for name, (value, _) in examples().items():
        monkeypatch.setenv(name, value)
    assert Settings() == defaults


@pytest.mark.usefixtures("no_variables")
def test_an_empty_value_is_no_value_only_where_there_is_no_fixed_default() -> None:
    empty = {name for name, (value, _) in examples().items() if not value}
    unfixed = {
        PREFIX + name.upper()
        for name, field in Settings.model_fields.items()
        if field.default_factory is not None or field.default is None
    }
    assert empty == unfixed


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "http"),
        ("API_KEY", "short"),
        ("PULL", "sometimes"),
        ("LEASE_SECONDS", "0"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_value_that_is_not_valid_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert [error["loc"] for error in refused.value.errors()] == [(name.lower(),)]
