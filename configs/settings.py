"""Settings: the environment (`BATCHYARD_*`) read once, validated, and passed in.

Every field is listed in `.env.example`; a test holds the two against each other.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from configs.networks import parse_networks

PREFIX = "BATCHYARD_"
# Variables of ours that are no settings: of the client commands, of `make bindings`, of `make test`, and what
# `up` tells the parts that it starts.
OTHER_VARIABLES = ("URL", "WHEELS", "REQUIRE_BINDINGS", "PART_OF_UP")


def default_home() -> Path:
    """The home folder when none is named.

    Root's own home is usually closed to the unprivileged account that runs Postgres, hence /var/lib.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/batchyard")
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "batchyard"


def default_models() -> Path:
    """The folder of pulled models when none is named: the user's cache folder, shared by all homes."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "batchyard" / "models"


class Settings(BaseSettings):
    """Everything that an operator can set. Units are in the names; sizes are bytes unless said."""

    # An empty variable counts as unset: compose files and .env files cannot leave one out.
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    home: Path = Field(
        default_factory=default_home,
        description="all data; default ~/.local/share/batchyard, for root /var/lib/batchyard",
    )
    models: Path = Field(
        default_factory=default_models,
        description="pulled model files, shared by all homes; default ~/.cache/batchyard/models",
    )
    specs: Path | None = Field(
        None, description="folder of your own model specs (*.yaml); default: specs in the home"
    )

    host: str = Field("127.0.0.1", description="address the API binds")
    port: int = Field(8080, ge=0, le=65535, description="port the API binds")
    database_url: str | None = Field(None, description="postgresql://…; default: the embedded Postgres")
    redis_url: str | None = Field(None, description="redis://… or unix://…; default: the embedded Redis")
    blob_url: str | None = Field(None, description="file:///…; default: blobs in the home")
    api_key: str | None = Field(None, min_length=8, description="bootstraps one API key at start")

    slots: str = Field(
        "auto", description='auto, a number of slots, or core sets such as "0-3,4-7" ("0-0" is core 0)'
    )
    families: str = Field("all", description="families that a slot serves, comma-separated")
    engine_nice: int = Field(19, ge=0, le=19, description="niceness of engines")
    memory_mb: int | None = Field(None, gt=0, description="memory for engines; default: 80 % of what is free")

    pull: Literal["first-use", "never"] = Field(
        "first-use", description="pull a model's files when a job first needs them, or never"
    )
    offline: bool = Field(False, description="refuse every download; only files that are there are used")

    lease_seconds: float = Field(30.0, gt=0, description="how long a claim holds without a sign of life")
    drain_seconds: float = Field(30.0, gt=0, description="longest drain before the task is given back")
    linger_seconds: float = Field(5.0, ge=0, description="how long an empty drain listens for the next poke")
    stall_seconds: float = Field(120.0, gt=0, description="an engine silent for so long in a call is ended")
    bulk_share: float = Field(
        0.2, ge=0, le=0.9, description="least share of a slot's time for bulk work while somebody waits"
    )
    stop_seconds: float = Field(8.0, gt=0, description="time that parts in flight get when a slot stops")

    max_file_bytes: int = Field(512 * 1024**2, gt=0, description="largest upload to /v1/files")
    max_upload_bytes: int = Field(8 * 1024**3, gt=0, description="largest upload through /v1/uploads")
    max_audio_bytes: int = Field(2 * 1024**3, gt=0, description="largest recording in the form of a call")
    max_body_bytes: int = Field(256 * 1024**2, gt=0, description="largest JSON request body")
    max_line_bytes: int = Field(1024**2, gt=0, description="longest line of a batch input file")
    max_batch_lines: int = Field(50_000, gt=0, description="most lines of a batch (/v1/batches only)")
    max_batch_bytes: int = Field(200_000_000, gt=0, description="largest input file of a batch")
    max_job_items: int = Field(1_000_000, gt=0, description="most items of a job")
    max_inputs: int = Field(50_000, gt=0, description="most inputs of one embeddings call")
    part_inputs: int = Field(256, gt=0, description="inputs per part of a large embeddings call")
    call_timeout_seconds: float = Field(600.0, gt=0, description="longest wait of an awaited call")
    max_queued_items: int = Field(
        5_000_000, gt=0, description="most items of open jobs that have no result yet"
    )
    max_queued_items_per_key: int | None = Field(
        None, gt=0, description="as many of each API key that has no limit of its own; default: no limit"
    )

    keep_jobs_days: float = Field(
        30.0, ge=0, description="how long ended batches and jobs are kept, with their results; 0: for ever"
    )
    keep_calls_hours: float = Field(
        24.0, ge=0, description="how long ended awaited calls are kept, with their results; 0: for ever"
    )
    keep_events_days: float = Field(
        30.0, ge=0, description="how long events of webhooks are kept, with their deliveries; 0: for ever"
    )

    webhook_allow: str | None = Field(
        None, description="private networks that webhooks may go to, such as 127.0.0.0/8,10.1.0.0/16"
    )
    fetch_allow: str | None = Field(
        None, description="private networks that recordings may be fetched from by their URL"
    )
    max_fetch_bytes: int = Field(
        2 * 1024**3, gt=0, description="largest recording that is fetched by its URL"
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="events below this level are not logged"
    )
    log_format: Literal["json", "console"] = Field("console", description="structured logs as JSON or text")

    @field_validator("home")
    @classmethod
    def _is_a_folder(cls, home: Path) -> Path:
        """It may not be there yet; a file in its place, or on the way to it, cannot become one."""
        found = next((path for path in (home, *home.absolute().parents) if os.path.lexists(path)), home)
        if os.path.lexists(found) and not os.path.isdir(found):
            raise ValueError(f"{found} is not a folder")
        return home

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: str | None) -> str | None:
        return _with_scheme(url, "postgresql", "postgres")

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str | None) -> str | None:
        return _with_scheme(url, "redis", "rediss", "unix")

    @field_validator("webhook_allow", "fetch_allow")
    @classmethod
    def _is_a_list_of_networks(cls, networks: str | None) -> str | None:
        parse_networks(networks or "")
        return networks

    @field_validator("blob_url")
    @classmethod
    def _is_a_file_url(cls, url: str | None) -> str | None:
        if url is not None and url.startswith("s3:"):
            raise ValueError("blobs in S3 are not built yet; name a folder that is shared with file:///…")
        if url is not None and not url.startswith("file:///"):
            raise ValueError("must read file:///…, an absolute path")
        return url

    @property
    def specs_folder(self) -> Path:
        return self.specs or self.home / "specs"


def unknown_variables(environment: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Variables that begin like ours and mean nothing, each with the known one that is nearest to it."""
    known = {*(name.upper() for name in Settings.model_fields), *OTHER_VARIABLES}
    found = []
    for variable in sorted(environment):
        name = variable.upper().removeprefix(PREFIX)
        if variable.upper().startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)  # without the prefix, which all have in common
            found.append((variable, PREFIX + near[0] if near else None))
    return found


def _with_scheme(url: str | None, *schemes: str) -> str | None:
    """A URL's password may stand in it: the message does not repeat it."""
    if url is not None and not any(url.startswith(f"{scheme}://") for scheme in schemes):
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    return url
