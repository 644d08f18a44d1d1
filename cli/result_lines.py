"""The results of a job, line by line, over a connection that may break; to stdout, or to a file that a later
call goes on with."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from cli.client import Client, Object, ServiceUnreachable
from cli.errors import CommandFailed

RETRIES = 5  # of a broken download, each of which goes on behind the last line that came
TAIL_BYTES = 64 * 1024  # of a file that is looked through for the start of its last line at once


class ResultLine(NamedTuple):
    """A result: its item's number, the line as it came, and what it says."""

    number: int
    raw: bytes
    found: Object


def result_lines(client: Client, job_id: str, *, after: int = -1, **params: str) -> Iterator[ResultLine]:
    """The results of a job in order, behind item `after`. A connection that breaks is made again.

    Raises `ServiceUnreachable` when that does not help, `ServiceRefused`.
    """
    last, failures = after, 0
    while True:
        try:
            with client.stream(f"/v1/jobs/{job_id}/results", after=last, **params) as reply:
                for line in reply.iter_lines():
                    if line:
                        found: Object = orjson.loads(line)
                        last, failures = number_of(found), 0
                        yield ResultLine(last, line.encode(), found)
            return
        except ServiceUnreachable:
            failures += 1
            if failures > RETRIES:
                raise


def number_of(line: Object) -> int:
    """The number of a result's item: the end of its `id`."""
    return int(line["id"].rpartition("_")[2])


def problem_of(line: Object) -> str | None:
    """Why an item has no result, None for one that has."""
    response = line["response"]
    if response is not None and response["status_code"] == 200:
        return None
    error = line["error"] if response is None else response["body"]["error"]
    return f"{error['message']} ({error['code']})"


def go_on_with(path: Path) -> tuple[BinaryIO, int]:
    """The file, open behind its last whole line, and that line's item number; -1 for one without lines.

    Half a line, as a broken call leaves it, is cut off. Raises `CommandFailed` for a file of something else.
    """
    file = path.open("r+b") if path.exists() else path.open("w+b")
    end = file.seek(0, 2)
    start, tail = end, b""
    while start > 0 and tail.count(b"\n") < 2:
        start = max(0, start - TAIL_BYTES)
        file.seek(start)
        tail = file.read(end - start)
    whole = tail[: tail.rfind(b"\n") + 1]
    file.seek(start + len(whole))
    file.truncate()
    if not whole:
        return file, -1
    try:
        return file, number_of(orjson.loads(whole.splitlines()[-1]))
    except (ValueError, LookupError, TypeError, AttributeError):
        file.close()
        raise CommandFailed(f"{path} does not hold results of a job; name another file") from None
