"""`docker-compose.yml` and the `Dockerfile` name only what exists. No container engine is needed for that."""

import json
import re
import shlex
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from typer.exceptions import TyperException

from backends.registry import FAMILIES
from configs.settings import Settings
from tests.fixtures.commands import NoSuchCommand, parse_command

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PARTS = sorted(name for name, service in SERVICES.items() if service.get("image") == "batchyard")
WORKERS = [name for name in PARTS if SERVICES[name]["command"][0] == "worker"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OF_POSTGRES = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's (instruction, arguments), continued lines joined, comments dropped."""
    text = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    joined = text.replace("\\\n", " ")
    return [(name, rest) for line in joined.splitlines() if line for name, rest in [line.split(maxsplit=1)]]


def variables(texts: list[str]) -> set[str]:
    """The names of `${NAME…}` in `texts`."""
    return {name for text in texts for name in re.findall(r"\$\{([A-Z_]+)", text)}


def settings_from(environment: dict[str, Any]) -> Settings:
    """What a part would read. Every variable has to be a setting. Raises ValidationError."""
    values: dict[str, Any] = {
        name.removeprefix("BATCHYARD_").lower(): value for name, value in environment.items()
    }
    assert values.keys() <= Settings.model_fields.keys()
    return Settings(**values)


def test_it_is_valid_by_the_published_schema() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text()))
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(COMPOSE)]
    assert not errors, "\n".join(errors)


def test_all_parts_are_there() -> None:
    commands = [SERVICES[name]["command"][0] for name in PARTS]
    assert sorted(set(commands)) == ["api", "deliver", "dispatch", "migrate", "worker"]
    assert len(commands) - commands.count("worker") == 4
    assert {"postgres", "redis"} == SERVICES.keys() - set(PARTS)


@pytest.mark.parametrize("name", PARTS)
def test_every_command_exists_with_its_options(name: str) -> None:
    parse_command(SERVICES[name]["command"])


@pytest.mark.parametrize("name", [name for name in PARTS if "healthcheck" in SERVICES[name]])
def test_every_health_check_is_a_command_of_ours(name: str) -> None:
    kind, program, *words = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "batchyard")
    parse_command(words)


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(NoSuchCommand):
        parse_command(["work"])
    with pytest.raises(TyperException):
        parse_command(["worker", "--family", "bert"])


def test_every_service_that_stays_has_a_health_check() -> None:
    without = {name for name, service in SERVICES.items() if "healthcheck" not in service}
    assert without == {"migrate"}


def test_every_variable_is_a_setting_or_one_of_postgres() -> None:
    known = {f"BATCHYARD_{name.upper()}" for name in Settings.model_fields} | OF_POSTGRES
    assert variables([(ROOT / "docker-compose.yml").read_text()]) <= known
    assert SERVICES["postgres"]["environment"].keys() == OF_POSTGRES


@pytest.mark.parametrize("name", PARTS)
def test_every_part_gets_settings_that_are_valid(name: str) -> None:
    settings = settings_from(
        {
            name: re.sub(r"\$\{\w+:[-?]([^}]*)\}", r"\1", str(value))
            for name, value in SERVICES[name]["environment"].items()
        }
    )
    assert settings.database_url is not None
    assert settings.redis_url is not None


def test_the_urls_name_the_services_and_their_account() -> None:
    environment, postgres = SERVICES["api"]["environment"], SERVICES["postgres"]["environment"]
    assert environment["BATCHYARD_DATABASE_URL"] == (
        f"postgresql://{postgres['POSTGRES_USER']}:{postgres['POSTGRES_PASSWORD']}"
        f"@postgres:5432/{postgres['POSTGRES_DB']}"
    )
    assert environment["BATCHYARD_REDIS_URL"].startswith("redis://redis:6379")


def test_the_api_listens_to_all_and_asks_for_a_key() -> None:
    environment = SERVICES["api"]["environment"]
    assert environment["BATCHYARD_HOST"] == "0.0.0.0"
    assert environment["BATCHYARD_API_KEY"].startswith("${BATCHYARD_API_KEY:?")
    (published,) = SERVICES["api"]["ports"]
    assert published.endswith(f":{environment['BATCHYARD_PORT']}")


def test_workers_cover_every_family_once() -> None:
    served = [
        family
        for name in WORKERS
        for family in parse_command(SERVICES[name]["command"])["families"].split(",")
    ]
    assert sorted(served) == sorted(FAMILIES)


@pytest.mark.parametrize("name", WORKERS)
def test_workers_can_be_scaled(name: str) -> None:
    """Replicas may share nothing that only one of them can have."""
    assert not SERVICES[name].keys() & {"container_name", "ports", "hostname", "cpuset", "network_mode"}


@pytest.mark.parametrize("name", PARTS)
def test_every_part_waits_for_what_it_needs(name: str) -> None:
    after = SERVICES[name]["depends_on"]
    wanted = {"postgres": "service_healthy"}
    if name != "migrate":
        wanted = {"migrate": "service_completed_successfully", "redis": "service_healthy"}
    assert {other: how["condition"] for other, how in after.items()} == wanted


def test_every_volume_is_declared_and_writable_in_the_image() -> None:
    mounts = [mount.split(":") for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {volume for volume, _ in mounts} == COMPOSE["volumes"].keys()
    made = " ".join(rest for name, rest in instructions() if name == "RUN" and "install --directory" in rest)
    ours = {
        target for name in PARTS for _, target in (mount.split(":") for mount in SERVICES[name]["volumes"])
    }
    assert ours == {SERVICES["api"]["environment"][f"BATCHYARD_{name}"] for name in ("HOME", "MODELS")}
    assert all(f" {target}" in made for target in ours)


def test_the_dockerfile_copies_only_what_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]}
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_has_every_package_of_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {rest.split()[-1] for name, rest in instructions() if name == "COPY"}
    assert set(packages) <= copied
    (made,) = re.findall(r"for package in ([\w ]+);", " ".join(rest for _, rest in instructions()))
    assert made.split() == packages
    (extras,) = re.findall(r"\.\[([\w,]+)\]", DOCKERFILE)
    assert set(extras.split(",")) <= project["project"]["optional-dependencies"].keys()


def test_the_image_starts_with_valid_settings_and_an_existing_command() -> None:
    environment = dict(
        pair.split("=", 1) for name, rest in instructions() if name == "ENV" for pair in shlex.split(rest)
    )
    settings_from({name: value for name, value in environment.items() if name.startswith("BATCHYARD_")})
    by_name = dict(instructions())
    assert json.loads(by_name["ENTRYPOINT"]) == ["batchyard"]
    parse_command(json.loads(by_name["CMD"]))
