"""`batchyard demo`: starts the service, embeds the docstrings of Python's library, answers questions."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.demo_service import HomeOption, demo_service, demo_settings, have_model, results_folder
from cli.environment import settings_from
from cli.errors import CommandFailed
from cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from cli.client import Client
    from cli.embedding_job import Collected
    from cli.progress import Meter
    from cli.texts import Text
    from configs.settings import Settings

MODEL = "all-minilm-l6-v2"
QUESTIONS = (
    "how do I parse a date?",
    "wait for a process to finish",
    "find the largest few items of a list",
)
BEST = 3  # answers per question

LimitOption = Annotated[int | None, typer.Option(min=1, help="Embed only the first so many docstrings.")]


def demo(home: HomeOption = None, limit: LimitOption = None) -> None:
    """Start the service, embed every docstring of the standard library as one bulk job, search them.

    Ends what it started. Runs as often as you like; the second time finds the model and the home ready.
    """
    from cli.progress import Meter

    settings = demo_settings(home)
    folder = results_folder(settings.home, "demo")
    with Meter() as meter:
        have_model(settings, MODEL, meter)
        texts = _corpus(limit, meter)
        _run(settings, folder, texts, meter)
    raise typer.Exit(ExitCode.OK)


def _run(settings: "Settings", folder: Path, texts: "list[Text]", meter: "Meter") -> None:
    from cli.progress import counted

    with demo_service(settings, MODEL, folder / "up.log", meter) as client:
        collected, seconds = _embed(client, texts, folder, meter)
        failed = f"; {collected.failed:,} failed" if collected.failed else ""
        meter.tell(
            f"{counted(collected.vectors, 'vector')} of {collected.dimensions} dimensions, "
            f"{collected.tokens:,} tokens, in {seconds:.1f} s: "
            f"{collected.vectors / seconds:,.0f} texts/s{failed}"
        )
        _answer(client, texts, folder, meter)
    meter.tell(f"\nThe vectors, their names and the texts lie in {folder}")


def _corpus(limit: int | None, meter: "Meter") -> "list[Text]":
    from itertools import islice

    from cli.progress import counted
    from cli.stdlib_docs import read_docstrings, standard_library

    meter.stage("reading the docstrings of the standard library")
    texts = list(islice(read_docstrings(standard_library()), limit))
    if not texts:
        raise CommandFailed(f"there are no source files in {standard_library()}; is this Python whole?")
    meter.tell(f"{counted(len(texts), 'docstring')} of {standard_library()}")
    return texts


def _embed(client: "Client", texts: "list[Text]", folder: Path, meter: "Meter") -> "tuple[Collected, float]":
    """The bulk path, as `batchyard embed` takes it; returns what came back and the seconds it took."""
    from cli.embedding_job import collect, submit
    from cli.vectors import open_output
    from cli.watch import complaints, wait_for

    started = time.monotonic()
    request: dict[str, Any] = {"model": MODEL, "overlong": "truncate"}
    job = submit(client, texts, request, meter, max_line_bytes=settings_from().max_line_bytes)
    job = wait_for(client, job["id"], meter, label="embedding")
    if job["status"] != "completed":
        raise CommandFailed("\n  ".join([f"{job['id']} is {job['status']}", *complaints(job)]))
    seconds = time.monotonic() - started
    with open_output(str(folder / "vectors.npy"), len(texts)) as sink:
        collected = collect(client, job, sink, meter)
    with (folder / "texts.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": text.id, "text": text.text}) + "\n" for text in texts)
    return collected, seconds


def _answer(client: "Client", texts: "list[Text]", folder: Path, meter: "Meter") -> None:
    """Cosine search: the vectors have length 1, so that it is one product of matrix and question."""
    import numpy as np

    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    for question in QUESTIONS:
        started = time.monotonic()
        reply = client.post("/v1/embeddings", {"model": MODEL, "input": question})
        cosines = np.nan_to_num(vectors @ np.float32(reply["data"][0]["embedding"]), nan=-1.0)
        milliseconds = 1000 * (time.monotonic() - started)
        meter.tell(f"\n{question}  ({milliseconds:.0f} ms)")
        for row in np.argsort(-cosines)[:BEST]:
            name, _, docstring = texts[row].text.partition(": ")
            meter.tell(f"  {cosines[row]:.2f}  {name}: {docstring.partition(chr(10))[0]}")
