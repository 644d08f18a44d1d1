"""What is wrong with a spec that has the right form: unknown families, runtimes and options, sources that no
fetcher can read, files that no runtime can use. Judged when a spec is read, so that it shows at once and
with its line, and not when the first job wants the model."""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError

from configs.families import FAMILY_RULES, IMPORTERS, FamilyRules, Values
from configs.models import ModelFile, ModelSpec

PYPI = re.compile(r"pypi:([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)#(\S+)")
HUB = re.compile(r"hf:([^/@\s]+/[^/@\s]+)/([^@]+)@([^@]+)")
PYPI_FORM = "must read pypi:<dist>==<version>#<path in wheel>"
HUB_FORM = "must read hf:<owner>/<name>/<file>@<revision>"


class Fault(NamedTuple):
    """What is wrong, and where: the keys and indices that lead to it from the top of the spec."""

    place: tuple[str | int, ...]
    message: str


def faults_of(spec: ModelSpec) -> list[Fault]:
    """All that is wrong with a spec, in the order in which people write one."""
    rules = FAMILY_RULES.get(spec.family)
    if rules is None:
        return [Fault(("family",), f"unknown family '{spec.family}'; known are {_listed(FAMILY_RULES)}")]
    return [
        *_runtime_faults(spec, rules),
        *(fault for number, file in enumerate(spec.files) for fault in _file_faults(number, file, rules)),
        *_weights_faults(spec, rules),
        *value_faults("options", spec.options, rules.options),
        *value_faults("defaults", spec.defaults, rules.defaults),
        *_prefix_faults(spec),
    ]


def value_faults(field: str, values: dict[str, Any], rules: type[Values]) -> list[Fault]:
    """What is wrong with the named values of a spec's `field`."""
    try:
        rules.model_validate(values)
    except ValidationError as error:
        return [
            Fault((field, *detail["loc"]), _unknown_value(str(detail["loc"][-1]), rules))
            if detail["type"] == "extra_forbidden"
            else Fault((field, *detail["loc"]), detail["msg"])
            for detail in error.errors()
        ]
    return []


def can_serve(spec: ModelSpec, runtime: str) -> bool:
    """Whether the spec names weights that `runtime` reads. A spec without files leaves them to its folder."""
    rules = FAMILY_RULES.get(spec.family)
    ending = rules.runtimes.get(runtime, "") if rules else ""
    return not spec.files or any(file.path.endswith(ending) for file in spec.files_for(runtime))


def source_fault(file: ModelFile) -> str | None:
    """What is wrong with the source of a file, as far as its text shows."""
    scheme, _, rest = file.source.partition(":")
    if scheme == "pypi" and not PYPI.fullmatch(file.source):
        return PYPI_FORM
    if scheme == "hf" and not HUB.fullmatch(file.source):
        return HUB_FORM
    if scheme in ("http", "https") and not urlsplit(file.source).hostname:
        return f"must read {scheme}://<host>/<path>"
    if scheme == "http" and file.sha256 is None:
        return "plain http needs a sha256; give one, or use https"
    return _import_fault(rest) if scheme == "import" else None


def _import_fault(rest: str) -> str | None:
    name, _, query = rest.partition("?")
    options = IMPORTERS.get(name)
    if options is None:
        return f"there is no importer '{name}'; known are {_listed(IMPORTERS)}"
    for option, value in parse_qsl(query, keep_blank_values=True):
        if option not in options:
            return f"importer '{name}' has no option '{option}'; it has {_listed(options)}"
        if value not in options[option]:
            return f"'{option}' of importer '{name}' is one of {_listed(options[option])}, not '{value}'"
    return None


def _runtime_faults(spec: ModelSpec, rules: FamilyRules) -> Iterator[Fault]:
    if spec.runtime not in ("auto", *rules.runtimes):
        known = _listed(["auto", *rules.runtimes])
        yield Fault(("runtime",), f"family '{spec.family}' has no runtime '{spec.runtime}'; it has {known}")


def _file_faults(number: int, file: ModelFile, rules: FamilyRules) -> Iterator[Fault]:
    if (wrong := source_fault(file)) is not None:
        yield Fault(("files", number, "source"), wrong)
    for runtime in file.runtimes:
        if runtime not in rules.runtimes:
            known = _listed(rules.runtimes)
            yield Fault(("files", number, "runtimes"), f"no runtime '{runtime}'; the family has {known}")


def _weights_faults(spec: ModelSpec, rules: FamilyRules) -> Iterator[Fault]:
    runtimes = list(rules.runtimes) if spec.runtime == "auto" else [spec.runtime]
    known = [name for name in runtimes if name in rules.runtimes]
    if known and not any(can_serve(spec, name) for name in known):
        wanted = " or ".join(f"'{name}' ({rules.runtimes[name] or 'any'})" for name in known)
        yield Fault(("files",), f"none of them is a weights file for {wanted}")
    for option in ("gguf", "ggml"):
        chosen = spec.options.get(option)
        if isinstance(chosen, str) and spec.files and chosen not in {file.path for file in spec.files}:
            yield Fault(("options", option), f"'{chosen}' is not one of the files")


def _prefix_faults(spec: ModelSpec) -> Iterator[Fault]:
    """Names of prefixes that the spec itself does not have. Without any, the model's folder may have them."""
    prefixes = spec.options.get("prefixes")
    if not isinstance(prefixes, dict):
        return
    for field, key, values in (
        ("options", "default_prefix", spec.options),
        ("defaults", "input_type", spec.defaults),
    ):
        name = values.get(key)
        if isinstance(name, str) and name not in prefixes:
            yield Fault((field, key), f"there is no prefix '{name}' in options.prefixes")


def _unknown_value(name: str, rules: type[Values]) -> str:
    near = difflib.get_close_matches(name, rules.model_fields, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {_listed(rules.model_fields)}"
    return f"nothing reads it; {hint}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
