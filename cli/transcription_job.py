"""Recordings to one bulk job: each is uploaded unless the service has it, then named by a line."""

import hashlib
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

from backends.transcription import TRANSCRIPTIONS
from cli.client import Client, Object, ServiceRefused
from cli.errors import CommandFailed
from cli.progress import Meter, counted
from cli.recordings import Recording
from store.lines import MAX_CUSTOM_ID

SOURCE = "batchyard transcribe"  # in the metadata of our jobs, by which they are known
PURPOSE = "user_data"  # of uploaded recordings
KEPT_SECONDS = 30 * 86_400  # how long the service keeps them, so that its disk is not full one morning
LEFT_SECONDS = 7 * 86_400  # that a stored one must still be kept for, to serve again
OWN_FAULT = frozenset({400, 413})  # refusals that are about this recording and no other


def upload_all(
    client: Client, recordings: Iterable[Recording], meter: Meter
) -> tuple[dict[Path, str], dict[Path, str]]:
    """Upload what the service does not have yet; returns the ids of files by path, and why others could not
    be uploaded. Raises `ServiceUnreachable`, or `ServiceRefused` where it is not about one recording."""
    recordings = list(recordings)
    total = sum(recording.size for recording in recordings)
    meter.stage(f"uploading {counted(len(recordings), 'recording')}", "MB")
    ids: dict[Path, str] = {}
    refused: dict[Path, str] = {}
    known: dict[str, str] = {}
    before = 0
    for recording in recordings:
        try:
            digest = _digest(recording.path)
            found = known.get(digest) or _stored(client, digest)
            ids[recording.path] = known[digest] = found or _upload(client, recording, meter, before, total)
        except OSError as error:
            refused[recording.path] = error.strerror or str(error)
        except ServiceRefused as error:
            if error.status not in OWN_FAULT:
                raise
            refused[recording.path] = str(error)
        before += recording.size
        meter.update(before, total)
    return ids, refused


def items_of(recordings: Iterable[Recording]) -> dict[str, Recording]:
    """The recordings by their custom_ids: their targets, by which an archive of the job names them too."""
    items: dict[str, Recording] = {}
    for number, recording in enumerate(recordings):
        name = recording.target.encode("utf-8", "replace").decode()  # file names need not be valid text
        if len(name) > MAX_CUSTOM_ID or name in items:
            name = f"{number} {name[-MAX_CUSTOM_ID + 16 :]}"
        items[name] = recording
    return items


def submit(
    client: Client, items: Mapping[str, Recording], files: Mapping[Path, str], body: Object, work: Object
) -> Object:
    """Make a job of `items`; returns it. `body` is that of each item without its recording, `work` what the
    job is to have besides (window, webhook_url). Raises `CommandFailed`."""
    with tempfile.TemporaryDirectory(prefix="batchyard-") as folder:
        path = Path(folder) / "recordings.jsonl"
        try:
            with path.open("wb") as file:
                for name, recording in items.items():
                    line = {
                        "custom_id": name,
                        "method": "POST",
                        "url": TRANSCRIPTIONS,
                        "body": body | {"file_id": files[recording.path]},
                    }
                    file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            raise CommandFailed(
                f"cannot write the temporary file {path}: {error.strerror}; see TMPDIR"
            ) from None
        file_id = client.upload(path)
    metadata = {"source": SOURCE}
    return client.post(
        "/v1/jobs", work | {"endpoint": TRANSCRIPTIONS, "input_file_id": file_id, "metadata": metadata}
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored(client: Client, digest: str) -> str | None:
    """The id of an uploaded file with these bytes."""
    page = client.get("/v1/files", sha256=digest, purpose=PURPOSE)
    for file in page["data"]:
        if file["expires_at"] is None or file["expires_at"] > time.time() + LEFT_SECONDS:
            return str(file["id"])
    return None


def _upload(client: Client, recording: Recording, meter: Meter, before: int, total: int) -> str:
    return client.upload(
        recording.path,
        purpose=PURPOSE,
        mime_type="application/octet-stream",
        keep_seconds=KEPT_SECONDS,
        report=lambda done: meter.update(before + done, total),
    )
