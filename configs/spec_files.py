"""Reading model specs: the YAML files of the gallery and of the user's folder, as one catalogue.

A broken file is named with its line and stops nothing: it goes to `Catalogue.broken`, the others load.
"""

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import structlog
import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from configs.families import FAMILY_RULES
from configs.models import NAME, Limits, ModelFile, ModelSpec
from configs.settings import Settings
from configs.spec_rules import faults_of

log = structlog.get_logger(__name__)

GALLERY = Path(__file__).parent / "gallery"
MAX_SPEC_BYTES = 1024**2  # a spec is a page of text; anything larger is a weights file in the wrong folder

Location = tuple[int | str, ...]


class Problem(NamedTuple):
    """One thing that is wrong in a spec file. `line` counts from 1; None: the file as a whole."""

    line: int | None
    message: str


@dataclass(frozen=True, kw_only=True)
class BrokenSpec:
    """One problem of one file, for `models list`, `doctor` and the logs. `model`: the name that the file
    gives, or that of the file where it gives none that can be read."""

    path: Path
    line: int | None
    message: str
    model: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.message}"


class InvalidSpec(Exception):
    """A spec file that cannot be used; `problems` names each fault with its line."""

    def __init__(self, path: Path, problems: list[Problem], *, model: str | None = None) -> None:
        self.broken = [
            BrokenSpec(path=path, line=line, message=message, model=model or path.stem)
            for line, message in problems
        ]
        super().__init__("\n".join(map(str, self.broken)))


class Catalogue:
    """The models that can be named: the ready ones and the user's own.

    `specs` maps a name to its spec, `broken` lists what could not be read. A user's spec takes the place
    of a ready one of the same name. Not safe for use by several threads at once during `refresh`.
    """

    def __init__(self, folders: Iterable[Path], *, max_inputs: int | None = None) -> None:
        """`folders`: where specs lie, the ones that win first. A folder that is missing holds none.

        `max_inputs` bounds the requests of every model, so that all who check one look at its spec alone.
        """
        self.specs: dict[str, ModelSpec] = {}
        self.broken: list[BrokenSpec] = []
        self._folders = tuple(folders)
        self._max_inputs = max_inputs
        self._aliases: dict[str, str] = {}
        self._seen: dict[Path, tuple[int, int]] = {}
        self._load(self._look())

    def find(self, name: str) -> ModelSpec | None:
        """The spec of this name or alias; None when there is none."""
        return self.specs.get(name) or self.specs.get(self._aliases.get(name, ""))

    def refresh(self) -> bool:
        """Read the files again if one came, went or changed (a stat per file). True if so."""
        found = self._look()
        if found == self._seen:
            return False
        self._load(found)
        return True

    def _look(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for folder in self._folders:
            for path in _spec_paths(folder):
                try:
                    stat = path.stat()
                except OSError:  # went away since the listing, or a dangling link: reading it says which
                    found[path] = (0, -1)
                else:
                    found[path] = (stat.st_mtime_ns, stat.st_size)
        return found

    def _load(self, found: dict[Path, tuple[int, int]]) -> None:
        specs: dict[str, ModelSpec] = {}
        aliases: dict[str, str] = {}
        owners: dict[str, Path] = {}
        broken: list[BrokenSpec] = []
        for path in found:
            try:
                spec = self._bounded(read_spec(path))
            except InvalidSpec as error:
                broken += error.broken
                continue
            taken = next((name for name in (spec.name, *spec.aliases) if name in owners), None)
            if taken is None:
                specs[spec.name] = spec
                aliases |= dict.fromkeys(spec.aliases, spec.name)
                owners |= dict.fromkeys((spec.name, *spec.aliases), path)
            elif owners[taken].parent == path.parent:
                message = f"the name '{taken}' is already taken by {owners[taken].name}"
                broken.append(BrokenSpec(path=path, line=None, message=message, model=spec.name))
            else:
                log.warning("spec.shadowed", model=taken, by=str(owners[taken]), shadowed=str(path))
        self.specs, self.broken, self._aliases, self._seen = specs, broken, aliases, found

    def _bounded(self, spec: ModelSpec) -> ModelSpec:
        bounds = [most for most in (spec.limits.max_inputs, self._max_inputs) if most is not None]
        limits = spec.limits.model_copy(update={"max_inputs": min(bounds, default=None)})
        return spec.model_copy(update={"limits": limits})


def load_catalogue(settings: Settings) -> Catalogue:
    """The ready specs and the user's own (`Settings.specs_folder`); the user's win."""
    return Catalogue([settings.specs_folder, GALLERY], max_inputs=settings.max_inputs)


def read_spec(path: Path) -> ModelSpec:
    """The spec in one YAML file. Relative `file:` sources become absolute, as seen from the file.

    Raises `InvalidSpec`, whatever is wrong with the file.
    """
    text = _read_text(path)
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        data = loader.construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"not valid YAML: {error.problem or error.context}"
        raise InvalidSpec(path, [Problem(mark.line + 1 if mark else None, reason)]) from None
    except yaml.YAMLError as error:
        raise InvalidSpec(path, [Problem(None, f"not valid YAML: {error}")]) from None
    except RecursionError:
        raise InvalidSpec(path, [Problem(None, "not valid YAML: nested too deeply")]) from None
    except ValueError as error:  # a scalar that YAML takes for a date or a number, and is none
        raise InvalidSpec(path, [Problem(None, f"not valid YAML: {error}")]) from None
    if root is None or not isinstance(data, dict):
        raise InvalidSpec(path, [Problem(1, "must be a mapping with 'name', 'family' and 'files'")])
    try:
        spec = ModelSpec.model_validate(data)
    except ValidationError as error:
        # misspelt fields first: the right one is then missing as well, which says less
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        raise InvalidSpec(path, [_problem(root, detail) for detail in details], model=_name(data)) from None
    _check_paths_differ(path, root, spec)
    if faults := faults_of(spec):
        problems = [
            Problem(_line_of(root, place), f"{_field(place)}: {message}") for place, message in faults
        ]
        raise InvalidSpec(path, problems, model=spec.name)
    return spec.model_copy(
        update={"files": (*(_made_absolute(file, path) for file in spec.files), *_extra(spec))}
    )


def _extra(spec: ModelSpec) -> Iterator[ModelFile]:
    """The files that every model of the family has and this spec does not name. A spec that lists none leaves
    all of them to its folder."""
    named = {file.path for file in spec.files}
    if named:
        yield from (file for file in FAMILY_RULES[spec.family].extra_files if file.path not in named)


def _spec_paths(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError:
        return []


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SPEC_BYTES + 1)
    except OSError as error:
        raise InvalidSpec(path, [Problem(None, f"cannot be read: {error.strerror}")]) from None
    if len(data) > MAX_SPEC_BYTES:
        raise InvalidSpec(path, [Problem(None, f"larger than {MAX_SPEC_BYTES} bytes; not a spec")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidSpec(path, [Problem(line, f"not UTF-8 (byte {error.start})")]) from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, which YAML libraries let pass: the last one would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in keys:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key.value}' stands twice", key.start_mark
                    )
                keys.add(key.value)
        return super().construct_mapping(node, deep)


def _line_of(root: yaml.Node, location: Location) -> int:
    """The line of the place that a validation error names, or of the nearest one around it."""
    node, line = root, root.start_mark.line
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == step), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1


def _problem(root: yaml.Node, detail: ErrorDetails) -> Problem:
    location = detail["loc"]
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        message = "is missing"
    elif detail["type"] == "extra_forbidden":
        message = "is not a field of a spec" + _suggestion(location)
    elif detail["type"] == "string_pattern_mismatch":
        message = "must be 64 hexadecimal digits in lower case"
    return Problem(_line_of(root, location), f"{_field(location)}: {message}")


def _field(location: Location) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")


def _name(data: dict[str, Any]) -> str | None:
    name = data.get("name")
    return name if isinstance(name, str) and NAME.fullmatch(name) else None


def _suggestion(location: Location) -> str:
    holders: dict[str, type[BaseModel]] = {"files": ModelFile, "limits": Limits}
    fields = holders.get(str(location[0]), ModelSpec).model_fields
    near = difflib.get_close_matches(str(location[-1]), fields, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _check_paths_differ(path: Path, root: yaml.Node, spec: ModelSpec) -> None:
    seen: set[str] = set()
    for number, file in enumerate(spec.files):
        if file.path in seen:
            line = _line_of(root, ("files", number, "path"))
            problem = Problem(line, f"files[{number}].path: '{file.path}' stands twice")
            raise InvalidSpec(path, [problem], model=spec.name)
        seen.add(file.path)


def _made_absolute(file: ModelFile, spec_path: Path) -> ModelFile:
    scheme, _, rest = file.source.partition(":")
    if scheme != "file":
        return file
    target = os.path.normpath(spec_path.parent.absolute() / Path(rest).expanduser())
    return file.model_copy(update={"source": f"file:{target}"})
