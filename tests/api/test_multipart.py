"""Streamed forms: a file becomes a blob, and nothing is left of what is refused."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect

from api import errors
from api.errors import ApiError
from api.middleware import RequestContext
from api.multipart import MAX_FIELD_BYTES, MAX_FIELDS, read_form
from store.blobs import Blobs

LIMIT = 3 * 1024**2
BOUNDARY = "x--boundary"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def client(folder: Path) -> TestClient:
    """Keeps a file whose purpose is `keep`, and refuses any other."""
    app, blobs = FastAPI(openapi_url=None), Blobs(folder)

    @app.post("/form")
    async def take(request: Request) -> dict[str, object]:
        optional = "optional" in request.query_params
        async with read_form(request, blobs, file_field="file", limit=LIMIT, optional=optional) as form:
            if optional:
                return {"pairs": form.pairs, "file": form.file is not None}
            if form.fields.get("purpose") != "keep":
                raise ApiError("invalid_purpose", "no")
            form.keep()
        return {"fields": form.fields, "filename": form.filename, "blob": form.blob.name}

    errors.install(app, [])
    app.add_middleware(RequestContext)
    return TestClient(app)


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    suffix = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{suffix}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
Post = Callable[[bytes], tuple[int, dict[str, object]]]


@pytest.fixture
def post(client: TestClient) -> Post:
    def send(body: bytes) -> tuple[int, dict[str, object]]:
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        reply = client.post("/form", content=body, headers={"content-type": kind})
        answer = reply.json()
        return reply.status_code, answer.get("error", answer)

    return send


def left_behind(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("file_first", [True, False])
def test_fields_may_come_before_or_after_the_file(post: Post, folder: Path, file_first: bool) -> None:
    data = bytes(range(256)) * 8192 + b"\r\n--x--bound not the boundary\r\n"
    parts = [part("file", data, "a.bin"), part("purpose", b"keep"), part("note", "ä☃".encode())]
    status, form = post(b"".join(parts if file_first else parts[::-1]) + END)
    assert status == 200
    assert form["fields"] == {"purpose": "keep", "note": "ä☃"}
    assert Blobs(folder).path(str(form["blob"])).read_bytes() == data


def test_fields_that_repeat_are_all_there_and_the_file_may_be_missing(
    client: TestClient, folder: Path
) -> None:
    body = part("include[]", b"a") + part("include[]", b"b") + END
    kind = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    answer = client.post("/form?optional", content=body, headers=kind).json()
    assert answer == {"pairs": [["include[]", "a"], ["include[]", "b"]], "file": False}
    assert left_behind(folder) == []


def test_an_empty_file_is_a_file(post: Post, folder: Path) -> None:
    status, form = post(part("file", b"", "empty") + part("purpose", b"keep") + END)
    assert status == 200
    assert Blobs(folder).path(str(form["blob"])).stat().st_size == 0


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("report.jsonl", "report.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("C:\\\\folder\\\\a.txt", "a.txt"),
        ("snow \u2603.txt", "snow \u2603.txt"),
        ("a\x01\x7f.txt", "a.txt"),
        ("", "upload"),
        ("x" * 1000, "x" * 255),
    ],
)
def test_a_filename_loses_its_folders_and_what_cannot_be_printed(post: Post, sent: str, kept: str) -> None:
    _, form = post(part("file", b"data", sent) + part("purpose", b"keep") + END)
    assert form["filename"] == kept


def test_a_route_that_refuses_leaves_no_blob(post: Post, folder: Path) -> None:
    status, error = post(part("file", b"data", "a") + part("purpose", b"other") + END)
    assert (status, error["code"]) == (400, "invalid_purpose")
    assert left_behind(folder) == []


def test_a_file_over_the_limit_is_refused_and_leaves_nothing(post: Post, folder: Path) -> None:
    status, error = post(part("file", b"x" * (LIMIT + 1), "a") + part("purpose", b"keep") + END)
    assert (status, error["code"], error["param"]) == (413, "file_too_large", "file")
    assert left_behind(folder) == []


def test_a_file_of_just_the_limit_is_taken(post: Post) -> None:
    assert post(part("file", b"x" * LIMIT, "a") + part("purpose", b"keep") + END)[0] == 200


def test_a_body_that_is_declared_far_too_large_is_refused_unread(client: TestClient) -> None:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", "content-length": str(10 * LIMIT)}
    reply = client.post("/form", content=iter([b"never read"]), headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "file_too_large")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (part("purpose", b"keep") + END, "missing_required_parameter"),
        (part("file", b"data", "a") + part("file", b"more", "b") + END, "invalid_request"),
        (part("file", b"data", "a"), "invalid_request"),
        (b"", "invalid_request"),
        (b"no form at all", "invalid_request"),
        (b"--" + BOUNDARY.encode() + b"\r\nContent-Disposition\x00: form-data\r\n\r\n", "invalid_request"),
        (part("purpose", b"x" * (MAX_FIELD_BYTES + 1)) + END, "invalid_value"),
        (b"".join(part(f"f{n}", b"x") for n in range(MAX_FIELDS + 1)) + END, "invalid_request"),
    ],
)
def test_a_broken_form_is_refused_and_leaves_nothing(
    post: Post, folder: Path, body: bytes, code: str
) -> None:
    status, error = post(body)
    assert (status, error["code"]) == (400, code)
    assert left_behind(folder) == []


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "", "\xff"])
def test_a_body_that_is_no_form_is_refused(client: TestClient, kind: str) -> None:
    headers = {"content-type": kind.encode("latin-1")}
    reply = client.post("/form", content=b"{}", headers=headers)  # type: ignore[arg-type]
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")


def test_a_caller_who_goes_away_leaves_nothing(folder: Path) -> None:
    messages = [
        {"type": "http.request", "body": part("file", b"x" * 2 * 1024**2, "a")[:-2], "more_body": True},
        {"type": "http.disconnect"},
    ]
    arriving = iter(messages)

    async def receive() -> dict[str, object]:
        return next(arriving)

    async def read() -> None:
        headers = [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]
        request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)
        async with read_form(request, Blobs(folder), file_field="file", limit=LIMIT):
            pass

    with pytest.raises(ClientDisconnect):
        asyncio.run(read())
    assert left_behind(folder) == []
