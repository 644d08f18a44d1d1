"""Texts to one bulk job, and its results to vectors: what `embed` and `demo` have in common.

Nothing is remembered on this side: an item's `custom_id` carries the number of the input and its id, so
that another process can fetch the results.
"""

import base64
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from cli.client import Client, Object
from cli.errors import CommandFailed
from cli.progress import Meter
from cli.result_lines import problem_of, result_lines
from cli.texts import Text
from cli.vectors import Row, Sink

ENDPOINT = "/v1/embeddings"
SOURCE = "batchyard embed"  # in the metadata of our jobs, by which they are known
EXAMPLES = 5  # failed inputs that are named at the end


@dataclass(kw_only=True)
class Collected:
    """What came back: vectors, failures (some of them named), and tokens that were read."""

    vectors: int = 0
    failed: int = 0
    dimensions: int = 0
    tokens: int = 0
    examples: list[str] = field(default_factory=list)


def submit(
    client: Client, texts: Iterable[Text], request: Object, meter: Meter, *, max_line_bytes: int
) -> Object:
    """Write the texts to a temporary file, upload it and make it a job; returns the job.

    `request` is the body of each item without its input; its `model` is checked first, so that a typing
    error costs nothing. `max_line_bytes` is the service's limit on one request. Raises `CommandFailed`.
    """
    client.get(f"/v1/models/{request['model']}")
    with tempfile.TemporaryDirectory(prefix="batchyard-") as folder:
        path = Path(folder) / "inputs.jsonl"
        lines = (_line_of(number, text, request, max_line_bytes) for number, text in enumerate(texts))
        count = _write_lines(path, lines, meter)
        if not count:
            raise CommandFailed("there is no text in the inputs")
        size = path.stat().st_size
        meter.stage("uploading", "MB")
        file_id = client.upload(path, report=lambda done: meter.update(done, size))
    work = {"endpoint": ENDPOINT, "input_file_id": file_id, "metadata": {"source": SOURCE}}
    return client.post("/v1/jobs", work)


def collect(client: Client, job: Object, sink: Sink, meter: Meter) -> Collected:
    """Read the results of a job that has ended into `sink`, in the order of the inputs."""
    meter.stage("fetching the vectors", "texts")
    collected = Collected()
    total = job["request_counts"]["total"]
    for line in result_lines(client, job["id"], encoding_format="base64"):
        row = _row_of(line.found, collected)
        sink.write(row)
        meter.update(row.index + 1, total)
    return collected


def check_is_embedding(job: Object) -> None:
    """Refuse to read another kind of job as vectors. Raises `CommandFailed`."""
    if job["endpoint"] != ENDPOINT:
        raise CommandFailed(f"{job['id']} is a job of {job['endpoint']}, not of {ENDPOINT}")
    if (job.get("metadata") or {}).get("source") != SOURCE:
        batch = "batch_" + job["id"].removeprefix("job_")
        raise CommandFailed(
            f"{job['id']} was not made by 'batchyard embed'; fetch it with: batchyard batch fetch {batch}"
        )


def _write_lines(path: Path, lines: Iterable[bytes], meter: Meter) -> int:
    meter.stage("reading", "texts")
    count = 0
    try:
        with path.open("wb", buffering=1024**2) as file:
            for line in lines:
                file.write(line)
                count += 1
                if count % 256 == 0:
                    meter.update(count)
    except OSError as error:
        raise CommandFailed(f"cannot write the temporary file {path}: {error.strerror}; see TMPDIR") from None
    return count


def _line_of(number: int, text: Text, request: Object, max_line_bytes: int) -> bytes:
    name = text.id.encode("utf-8", "replace").decode()  # file names need not be valid text
    request_line = {
        "custom_id": f"{number} {name}",
        "method": "POST",
        "url": ENDPOINT,
        "body": request | {"input": text.text},
    }
    try:
        line = orjson.dumps(request_line, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError as error:  # half of a surrogate pair, which JSON can spell and UTF-8 cannot
        raise CommandFailed(f"{name}: the text is not valid Unicode: {error}") from None
    if len(line) > max_line_bytes:
        raise CommandFailed(
            f"{name}: the text is too large for one request ({len(line):,} bytes, at most "
            f"{max_line_bytes:,}); cut it into several, or leave it out"
        )
    return line


def _row_of(line: Object, collected: Collected) -> Row:
    number, _, name = line["custom_id"].partition(" ")
    if not number.isdigit():
        raise CommandFailed(
            "this job was not made by 'batchyard embed'; fetch it with 'batchyard batch fetch'"
        )
    index = int(number)
    problem = problem_of(line)
    if problem is not None:
        collected.failed += 1
        if len(collected.examples) < EXAMPLES:
            collected.examples.append(f"{name}: {problem}")
        return Row(index=index, id=name, error=problem)
    body: dict[str, Any] = line["response"]["body"]
    vector = np.frombuffer(base64.b64decode(body["data"][0]["embedding"]), dtype="<f4")
    collected.vectors += 1
    collected.dimensions = vector.size
    collected.tokens += body["usage"]["total_tokens"]
    return Row(index=index, id=name, vector=vector)
