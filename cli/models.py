"""`batchyard models`: the specs that are known, and their files here. Only `resume` asks a service."""

import difflib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.environment import settings_from
from cli.errors import CommandFailed
from cli.exit_codes import ExitCode
from cli.service import DEFAULT_URL, JsonOption, KeyOption, UrlOption, connect, print_json
from cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backends.weights.pull import PullProgress
    from cli.progress import Meter
    from configs.models import ModelSpec
    from configs.settings import Settings
    from configs.spec_files import Catalogue

app = typer.Typer(
    help="List models; fetch, check and remove their files; resume paused ones.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="Name or alias of a model.", metavar="MODEL", show_default=False)]
Names = Annotated[
    list[str], typer.Argument(help="Names or aliases of models.", metavar="MODEL", show_default=False)
]
Runtimes = Annotated[
    list[str] | None,
    typer.Option("--runtime", help="Runtime to fetch for; default: the best that is installed."),
]


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List every model: the ready ones and your own. Broken spec files are named with their line."""
    settings, catalogue = _open_catalogue()
    rows = [_row(spec, settings) for spec in catalogue.specs.values()]
    if as_json:
        broken = [{"path": str(b.path), "line": b.line, "message": b.message} for b in catalogue.broken]
        print_json({"models": rows, "broken": broken})
        return
    columns = ("name", "family", "runtime", "state", "description")
    print_table(columns, [[row[column] for column in columns] for row in rows])
    for fault in catalogue.broken:
        typer.echo(f"broken: {fault}", err=True)


@app.command()
def show(name: Name, as_json: JsonOption = False) -> None:
    """Show a model: its spec, where its files lie, and which are there."""
    settings, catalogue = _open_catalogue()
    spec = _found(catalogue, name)
    row = _row(spec, settings) | {"spec": spec.model_dump(mode="json", exclude_defaults=True)}
    if as_json:
        print_json(row)
        return
    typer.echo(spec.name)
    for key in ("description", "family", "runtime", "state", "folder"):
        typer.echo(f"  {key:<12} {row[key]}")
    for key, values in (("limits", spec.limits.model_dump(exclude_none=True)), ("options", spec.options)):
        if values:
            typer.echo(f"  {key:<12} {', '.join(f'{name}={value}' for name, value in values.items())}")
    if spec.aliases:
        typer.echo(f"  {'aliases':<12} {', '.join(spec.aliases)}")
    for file in row["files"]:
        typer.echo(
            f"  {'file':<12} {file['path']}  {'there' if file['there'] else 'missing'}  {file['source']}"
        )


@app.command()
def pull(names: Names, runtimes: Runtimes = None) -> None:
    """Fetch the files of models. What is there already is not fetched again; an interrupted pull goes on."""
    from backends.weights.cache import best_runtime
    from cli.progress import Meter

    settings, catalogue = _open_catalogue()
    specs = [_found(catalogue, name) for name in names]
    with Meter() as meter:
        for spec in specs:
            wanted = _checked(spec, runtimes) or [best_runtime(spec)]
            folder = pull_files(spec, settings, wanted, meter)
            meter.say(f"{spec.name} is ready for {', '.join(wanted)} in {folder}")


@app.command("rm")
def remove(names: Names) -> None:
    """Delete the files of models. Local files that a spec only links to stay."""
    from backends.weights.pull import remove

    settings, catalogue = _open_catalogue()
    for spec in [_found(catalogue, name) for name in names]:
        freed = remove(spec, settings)
        typer.echo(f"{spec.name}: {_size(freed)} freed" if freed else f"{spec.name}: nothing was there")


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Default: every model that has files here.", metavar="MODEL"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hash the files that are here and compare with what the specs and the pulls recorded."""
    from backends.weights import cache

    settings, catalogue = _open_catalogue()
    chosen = [_found(catalogue, name) for name in names or []] or [
        spec for spec in catalogue.specs.values() if cache.model_folder(settings, spec).is_dir()
    ]
    report: dict[str, Any] = {}
    for spec in chosen:
        folder = cache.model_folder(settings, spec)
        states = cache.verify(spec, folder, _runtimes_here(spec, settings))
        report[spec.name] = [state._asdict() for state in states]
        if not as_json:
            for state in states:
                typer.echo(f"{spec.name}  {state.state:<8}  {_size(state.size_bytes):>10}  {state.path}")
    if as_json:
        print_json(report)
    bad = sorted({name for name, states in report.items() for s in states if s["state"] != "ok"})
    if bad:
        typer.echo(f"pull again what is not ok: batchyard models pull {' '.join(bad)}", err=True)
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def resume(
    name: Name, url: UrlOption = DEFAULT_URL, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Let the jobs of a paused model go on, and forget the strikes of their items. Asks the service."""
    with connect(url, api_key) as client:
        resumed = client.post(f"/v1/models/{name}/resume")
    if as_json:
        print_json(resumed)
    else:
        typer.echo(f"{resumed['id']}: {'resumed' if resumed['was_paused'] else 'it was not paused'}")


def pull_files(spec: "ModelSpec", settings: "Settings", runtimes: list[str], meter: "Meter") -> "Path":
    """Fetch the files of a model; returns their folder. Raises `CommandFailed` with all that is known of a
    failure, for which the log's line of the same would be one too many."""
    from backends.weights.pull import pull
    from backends.weights.sources import PullFailed
    from configs import logging

    logging.configure(settings.model_copy(update={"log_level": "error"}))
    try:
        return pull(spec, settings, runtimes=runtimes, progress=pull_progress(meter))
    except PullFailed as error:
        raise CommandFailed(f"{error}\n{error.detail}".rstrip()) from None


def pull_progress(meter: "Meter") -> "Callable[[PullProgress], None]":
    """Shows the steps of a pull on a meter, a stage per file that takes a while."""
    shown = ""

    def progress(step: "PullProgress") -> None:
        nonlocal shown
        label = f"{step.model}: {_phase(step)}"
        if label != shown and _takes_a_while(step):
            shown = label
            meter.stage(label, "MB")
        if label == shown:
            meter.update(step.done_bytes, step.total_bytes)

    return progress


def _open_catalogue() -> "tuple[Settings, Catalogue]":
    from configs import logging
    from configs.spec_files import load_catalogue

    settings = settings_from()
    logging.configure(settings.model_copy(update={"log_level": "warning"}))
    return settings, load_catalogue(settings)


def _found(catalogue: "Catalogue", name: str) -> "ModelSpec":
    spec = catalogue.find(name)
    if spec is not None:
        return spec
    if broken := next((fault for fault in catalogue.broken if fault.path.stem == name), None):
        raise CommandFailed(f"no model '{name}': its spec is broken: {broken}")
    near = difflib.get_close_matches(name, catalogue.specs, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(catalogue.specs)}"
    raise CommandFailed(f"no model '{name}'; {hint}")


def _checked(spec: "ModelSpec", runtimes: list[str] | None) -> list[str]:
    from backends.registry import runtimes_of

    return [name for wanted in runtimes or [] for name in runtimes_of(spec.family, wanted)]


def _runtimes_here(spec: "ModelSpec", settings: "Settings") -> list[str]:
    """The runtimes whose files are here; if none is complete, the best one, to say what it lacks."""
    from backends.registry import runtimes_of
    from backends.weights import cache

    folder = cache.model_folder(settings, spec)
    known = runtimes_of(spec.family, spec.runtime)
    return [name for name in known if not cache.missing_files(spec, folder, name)] or known[:1]


def _row(spec: "ModelSpec", settings: "Settings") -> dict[str, Any]:
    """What `list` and `show` say of a model; an unusable one says why in `state`."""
    from backends.errors import LoadFailed
    from backends.weights import cache

    folder = cache.model_folder(settings, spec)
    record = cache.read_record(folder)
    try:
        runtime = cache.best_runtime(spec)
        missing = cache.missing_files(spec, folder, runtime)
        size = sum(file.size_bytes or 0 for file in missing)
        state = "ready" if not missing else f"not pulled{f' ({_size(size)})' if size else ''}"
    except LoadFailed as error:
        runtime, state = spec.runtime, str(error)
    return {
        "name": spec.name,
        "family": spec.family,
        "runtime": runtime,
        "state": state,
        "description": spec.description,
        "folder": str(folder),
        "files": [
            {"path": file.path, "source": file.source, "there": cache.is_there(file, folder, record)}
            for file in spec.files
        ],
    }


def _phase(step: "PullProgress") -> str:
    if step.phase == "waiting":
        return "another process pulls it; waiting"
    return f"{step.phase} {step.path}"


def _takes_a_while(step: "PullProgress") -> bool:
    """Small files come and go faster than one can read their names."""
    return step.phase != "done" and (step.total_bytes is None or step.total_bytes > 5_000_000)


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count:,} bytes"
