"""Fetching recordings over real connections on loopback, which only the allowed network may reach."""

import errno
import gzip
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.types import ErrorInfo, Lane
from store.attachments import NewAttachment
from store.blobs import Blobs, BlobWriter
from tasks import fetching
from tasks.fetching import Fetcher
from tasks.outgoing import AddressGuard
from tests.fixtures.processes import wait_until
from tests.fixtures.web_server import Page, WebServer, web_server

PATIENCE_SECONDS = 60.0
LIMIT_BYTES = 1_000_000
TOO_MUCH = b"x" * (LIMIT_BYTES + 1)


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as started:
        yield started


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def fetcher(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetcher]:
    monkeypatch.setattr(fetching, "PAUSES", (0.01, 0.01))
    made = Fetcher(blobs, AddressGuard("127.0.0.0/8", setting="fetch_allow"), LIMIT_BYTES)
    yield made
    made.close()


def results(fetcher: Fetcher, count: int) -> dict[int, NewAttachment | ErrorInfo]:
    """What came of `count` fetches, by ticket; waited for as a drain waits."""
    got: dict[int, NewAttachment | ErrorInfo] = {}
    until = time.monotonic() + PATIENCE_SECONDS
    poll = select.poll()
    poll.register(fetcher.fileno(), select.POLLIN)
    while len(got) < count:
        assert time.monotonic() < until
        poll.poll(1000)
        got |= {fetched.ticket: fetched.result for fetched in fetcher.take()}
    return got


def fetch(fetcher: Fetcher, url: str) -> NewAttachment | ErrorInfo:
    fetcher.fetch(1, url, Lane.BULK)
    return results(fetcher, 1)[1]


def kept(blobs: Blobs, folder: Path) -> list[str]:
    """Everything in the folder of blobs, finished or not."""
    return [path.name for path in (folder / "blobs").rglob("*") if path.is_file()]


def test_a_recording_becomes_a_blob_that_is_named_as_its_server_or_url_says(
    fetcher: Fetcher, server: WebServer, blobs: Blobs
) -> None:
    disposition = {"content-disposition": 'attachment; filename="../a/Night 1.mp3"'}
    server.pages = {"/x/call%201.wav": [Page(body=b"RIFF")], "/y": [Page(body=b"ID3", headers=disposition)]}
    fetcher.fetch(1, server.url("/x/call%201.wav?key=1"), Lane.BULK)
    fetcher.fetch(2, server.url("/y"), Lane.INTERACTIVE)
    got = results(fetcher, 2)
    assert [(row.name, row.size_bytes) for row in (got[1], got[2]) if isinstance(row, NewAttachment)] == [
        ("call 1.wav", 4),
        ("Night 1.mp3", 3),
    ]
    assert isinstance(got[1], NewAttachment)
    assert blobs.path(got[1].blob).read_bytes() == b"RIFF"


def test_redirects_are_followed_and_each_is_judged(fetcher: Fetcher, server: WebServer) -> None:
    server.pages = {
        "/here": [Page(status=302, headers={"location": "/there"})],
        "/there": [Page(body=b"x")],
        "/inside": [Page(status=307, headers={"location": "http://10.1.2.3/meta"})],
        "/file": [Page(status=301, headers={"location": "file:///etc/passwd"})],
        "/round": [Page(status=301, headers={"location": "/round"})],
    }
    assert isinstance(fetch(fetcher, server.url("/here")), NewAttachment)
    inside = fetch(fetcher, server.url("/inside"))
    assert isinstance(inside, ErrorInfo)
    assert (inside.code, inside.param) == ("invalid_audio_url", "url")
    assert "10.1.2.3, which is not public" in inside.message
    assert "BATCHYARD_FETCH_ALLOW" in inside.message
    for path, code in (("/file", "invalid_audio_url"), ("/round", "fetch_failed")):
        failed = fetch(fetcher, server.url(path))
        assert isinstance(failed, ErrorInfo)
        assert failed.code == code
        assert "passwd" not in failed.message


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "http://[::1]:5432/", "ftp://127.0.0.1/x", "https://u:p@127.0.0.1/"],
)
def test_what_the_guard_refuses_is_not_fetched(fetcher: Fetcher, url: str) -> None:
    refused = fetch(fetcher, url)
    assert isinstance(refused, ErrorInfo)
    assert refused.code == "invalid_audio_url"


@pytest.mark.parametrize(
    "page",
    [
        Page(body=TOO_MUCH, headers={"content-length": "", "connection": "close"}),
        Page(body=b"x", headers={"content-length": str(LIMIT_BYTES + 1)}),
    ],
    ids=["sent", "announced"],
)
def test_more_than_the_limit_is_refused_and_nothing_of_it_is_kept(
    fetcher: Fetcher, server: WebServer, blobs: Blobs, tmp_path: Path, page: Page
) -> None:
    server.pages = {"/big": [page]}
    refused = fetch(fetcher, server.url("/big"))
    assert isinstance(refused, ErrorInfo)
    assert refused.code == "file_too_large"
    assert kept(blobs, tmp_path) == []


def test_a_failure_that_may_pass_is_tried_again_and_one_that_lasts_is_not(
    fetcher: Fetcher, server: WebServer, blobs: Blobs, tmp_path: Path
) -> None:
    server.pages = {
        "/busy": [Page(status=503), Page(body=b"0123456789", cut=4), Page(body=b"0123456789")],
        "/dead": [Page(status=500)],
        "/cut": [Page(body=b"0123456789", cut=4)],
    }
    assert isinstance(fetch(fetcher, server.url("/busy")), NewAttachment)
    for path, tries in (("/gone", 1), ("/dead", 3), ("/cut", 3)):
        failed = fetch(fetcher, server.url(path))
        assert isinstance(failed, ErrorInfo)
        assert failed.code == "fetch_failed"
        assert server.asked.count(path) == tries
    assert len(kept(blobs, tmp_path)) == 1


def test_what_is_encoded_was_not_asked_for_and_is_not_decoded(
    fetcher: Fetcher, server: WebServer, blobs: Blobs, tmp_path: Path
) -> None:
    """Encoded twice, 5 kB were gigabytes in the slot's memory."""
    bomb = gzip.compress(gzip.compress(b"x" * LIMIT_BYTES))
    for encoding in ("gzip, gzip", "GZIP"):
        server.pages = {"/bomb": [Page(body=bomb, headers={"content-encoding": encoding})]}
        refused = fetch(fetcher, server.url("/bomb"))
        assert isinstance(refused, ErrorInfo)
        assert refused.code == "fetch_failed"
        assert "which was not asked for" in refused.message
    assert server.asked == ["/bomb"] * 2
    assert kept(blobs, tmp_path) == []


def test_the_body_of_a_redirect_is_not_waited_for(fetcher: Fetcher, server: WebServer) -> None:
    hold = threading.Event()
    away = Page(status=302, headers={"location": "/there"}, body=b"x" * 1000, hold=hold)
    server.pages = {"/here": [away], "/there": [Page(body=b"x")]}
    assert isinstance(fetch(fetcher, server.url("/here")), NewAttachment)
    hold.set()


def test_a_server_that_drips_is_given_up(
    fetcher: Fetcher, server: WebServer, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "SLOW_SECONDS", 1.0)
    hold = threading.Event()
    server.pages = {"/drips": [Page(body=b"x" * 1000, hold=hold)]}
    failed = fetch(fetcher, server.url("/drips"))
    assert isinstance(failed, ErrorInfo)
    assert (failed.code, server.asked) == ("fetch_failed", ["/drips"])
    assert "too slowly" in failed.message
    assert kept(blobs, tmp_path) == []
    hold.set()


def test_a_name_that_is_not_known_is_asked_for_again(
    blobs: Blobs, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PAUSES", (0.01, 0.01))
    answers: list[list[str]] = [[], [], ["127.0.0.1"]]

    async def resolve(host: str, port: int) -> list[str]:
        return answers.pop(0)

    guard = AddressGuard("127.0.0.0/8", setting="fetch_allow", resolve=resolve)
    server.pages = {"/a": [Page(body=b"x")]}
    fetcher = Fetcher(blobs, guard, LIMIT_BYTES)
    try:
        assert isinstance(fetch(fetcher, f"http://clips.test:{server.server_port}/a"), NewAttachment)
        answers += [[], [], []]
        unknown = fetch(fetcher, "https://clips.test/a")
    finally:
        fetcher.close()
    assert isinstance(unknown, ErrorInfo)
    assert unknown.code == "invalid_audio_url"
    assert answers == []


def test_a_full_disk_is_an_error_of_ours(
    fetcher: Fetcher, server: WebServer, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(self: BlobWriter, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    server.pages = {"/a": [Page(body=b"x")]}
    with monkeypatch.context() as patched:
        patched.setattr(BlobWriter, "write", write)
        failed = fetch(fetcher, server.url("/a"))
    assert isinstance(failed, ErrorInfo)
    assert failed.code == "server_error"
    assert failed.message == "the recording could not be stored: No space left on device"
    assert server.asked == ["/a"] * 3  # there may be room soon
    assert kept(blobs, tmp_path) == []
    assert isinstance(fetch(fetcher, server.url("/a")), NewAttachment)


def test_one_callers_cookies_are_not_sent_for_another(fetcher: Fetcher, server: WebServer) -> None:
    server.pages = {"/login": [Page(body=b"x", headers={"set-cookie": "session=secret; Path=/"})]}
    fetch(fetcher, server.url("/login"))
    fetch(fetcher, server.url("/login"))
    assert server.cookies == [None, None]


def test_a_slow_server_holds_up_no_other_and_may_be_given_up(
    fetcher: Fetcher, server: WebServer, blobs: Blobs, tmp_path: Path
) -> None:
    hold = threading.Event()
    server.pages = {"/slow": [Page(body=b"x" * 1000, hold=hold)], "/quick": [Page(body=b"x")]}
    fetcher.fetch(1, server.url("/slow"), Lane.BULK)
    fetcher.fetch(2, server.url("/quick"), Lane.BULK)
    assert list(results(fetcher, 1)) == [2]
    fetcher.cancel(1)
    fetcher.cancel(99)  # is none
    wait_until(lambda: len(kept(blobs, tmp_path)) == 1, PATIENCE_SECONDS, "the cancelled fetch is dropped")
    hold.set()
    assert fetcher.take() == []


def test_interactive_fetches_do_not_wait_for_bulk_ones(fetcher: Fetcher, server: WebServer) -> None:
    hold = threading.Event()
    server.pages = {"/slow": [Page(body=b"x" * 1000, hold=hold)], "/quick": [Page(body=b"x")]}
    for ticket in range(fetching.AT_ONCE[Lane.BULK] + 2):
        fetcher.fetch(ticket, server.url("/slow"), Lane.BULK)
    fetcher.fetch(100, server.url("/quick"), Lane.INTERACTIVE)
    assert list(results(fetcher, 1)) == [100]
    assert server.asked.count("/slow") <= fetching.AT_ONCE[Lane.BULK]
    hold.set()


def test_closing_cancels_what_runs_and_deletes_what_nobody_took(
    blobs: Blobs, server: WebServer, tmp_path: Path
) -> None:
    hold = threading.Event()
    server.pages = {"/slow": [Page(body=b"x" * 1000, hold=hold)], "/quick": [Page(body=b"x")]}
    fetcher = Fetcher(blobs, AddressGuard("127.0.0.0/8"), LIMIT_BYTES)
    fetcher.fetch(1, server.url("/slow"), Lane.BULK)
    fetcher.fetch(2, server.url("/quick"), Lane.BULK)
    wait_until(lambda: len(kept(blobs, tmp_path)) == 2, PATIENCE_SECONDS, "both have begun")
    fetcher.close()
    assert kept(blobs, tmp_path) == []
    hold.set()
