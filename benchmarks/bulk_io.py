"""In and out in bulk: 50,000 lines into the database, and an output file of 50,000 vectors out of it."""

import asyncio
import io
import json
import time
from pathlib import Path

import httpx
import psycopg
from openai import OpenAI

from benchmarks.model import ready_model
from benchmarks.service import Service, fresh_home, running
from store import db, jobs, migrate
from store.embedded.services import EmbeddedServices
from store.ids import new_suffix
from store.ingest import ingest
from store.lines import LineRules
from tasks.validation import splitter

LINES = 50_000
MODEL = "echo-384"


def run(cache: Path) -> None:
    path = cache / "lines.jsonl"
    path.write_bytes(b"".join(_line(number) for number in range(LINES)))
    home = fresh_home(cache)
    _ingest(home, path)
    with running(home, ready_model(cache).parent, slots="1") as service:
        _output(service, path)


def _line(number: int) -> bytes:
    body = {"model": MODEL, "input": f"{number}: " + "what a docstring of a usual length may say, " * 8}
    line = {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/embeddings", "body": body}
    return json.dumps(line).encode() + b"\n"


def _ingest(home: Path, path: Path) -> None:
    """As the dispatcher does it: parse, check, split and COPY in one transaction, on disk at its end."""
    rules = LineRules(endpoint="/v1/embeddings", max_items=LINES, max_line_bytes=1 << 20)
    with EmbeddedServices(home) as urls:
        migrate.upgrade(urls.database_url)
        job_id = asyncio.run(_new_job(urls.database_url))
        with db.connect(urls.database_url, name="bench") as conn:
            begun = time.perf_counter()
            with conn.transaction():
                read = ingest(conn, job_id, path, rules, split=splitter("/v1/embeddings", 256))
            seconds = time.perf_counter() - begun
    assert read.items == LINES, read.errors
    print(f"ingest: {LINES / seconds:,.0f} lines/s (wanted at least 40,000)", flush=True)


async def _new_job(url: str) -> int:
    new = jobs.NewJob(
        suffix=new_suffix(),
        view="batch",
        project_id=1,
        key_id=1,
        endpoint="/v1/embeddings",
        family="",
        model="",
        lane="bulk",
    )
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        return await jobs.insert_validating(conn, new)


def _output(service: Service, path: Path) -> None:
    client = OpenAI(base_url=f"{service.url}/v1", api_key="any")
    file = client.files.create(file=("lines.jsonl", io.BytesIO(path.read_bytes())), purpose="batch")
    begun = time.perf_counter()
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    while batch.status not in ("completed", "failed"):
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    print(
        f"echo batch of {LINES} lines: {LINES / (time.perf_counter() - begun):,.0f} lines/s from end to end"
    )
    begun, received, lines = time.perf_counter(), 0, 0
    with httpx.stream("GET", f"{service.url}/v1/files/{batch.output_file_id}/content", timeout=300) as reply:
        for block in reply.iter_raw():
            received += len(block)
            lines += block.count(b"\n")
    seconds = time.perf_counter() - begun
    assert lines == LINES
    print(
        f"output file of {LINES} vectors of 384: {LINES / seconds:,.0f} lines/s, "
        f"{received / seconds / 1e6:.0f} MB/s (wanted at least 20,000 lines/s)"
    )
