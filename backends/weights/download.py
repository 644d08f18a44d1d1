"""Downloads over HTTP that go on where they stopped.

A download in the making is the file itself plus a note of which version of the resource it is a part of
(ETag or Last-Modified). A resume asks for the rest of that very version (`Range` with `If-Range`,
RFC 9110 §13.1.5, §14) and believes the answer only if it is about the bytes that were asked for.
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)  # between tries that brought nothing; any progress starts anew
TIMEOUT = httpx.Timeout(60.0, connect=15.0)
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
MOST_RESTARTS = 2  # from the first byte, because the server's replies did not fit together
BLOCK_BYTES = 1024**2


class DownloadFailed(Exception):
    """A download that is of no use to repeat at once; the message says what to do."""


class _Version(msgspec.Struct, frozen=True):
    """Which version of which resource a partial file belongs to."""

    url: str
    etag: str | None = None
    modified: str | None = None
    total: int | None = None


class _Interrupted(Exception):
    """The connection or the server failed; what came is kept, and another try may bring the rest."""


class _NotThatVersion(Exception):
    """What is there does not belong to what the server has now: start from the first byte."""


def hub_endpoint() -> str:
    """The base URL of `hf:` sources; HF_ENDPOINT names a mirror, as for Hugging Face's own tools."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_headers() -> dict[str, str]:
    """HF_TOKEN opens gated repositories. httpx drops the header when a redirect leaves the host."""
    token = os.environ.get("HF_TOKEN")
    return {"authorization": f"Bearer {token}"} if token else {}


class Download:
    """One download of `url` to `target`.

    `has_digest` says that the caller will check the whole: then a partial file may be continued even when
    the server names no version. `need_space(bytes)` may refuse, `report(done, total)` is told.
    """

    def __init__(
        self,
        url: str,
        target: Path,
        *,
        headers: dict[str, str],
        has_digest: bool,
        expected_bytes: int | None,
        need_space: Callable[[int], None],
        report: Callable[[int, int | None], None],
    ) -> None:
        self.url = url
        self.target = target
        self.headers = headers | {"accept-encoding": "identity"}
        self.has_digest = has_digest
        self.expected_bytes = expected_bytes
        self.need_space = need_space
        self.report = report
        self.stitched = False  # whether the file was put together from several replies

    def run(self) -> None:
        """Download until the file is whole. Raises `DownloadFailed`; what has come so far then stays at
        `target` for the next run."""
        failures = restarts = best = 0
        with httpx.Client(timeout=TIMEOUT, follow_redirects=True, max_redirects=10) as client:
            while True:
                try:
                    self._continue(client)
                    break
                except _NotThatVersion as error:
                    _discard(self.target)
                    restarts += 1
                    if restarts > MOST_RESTARTS:
                        raise DownloadFailed(f"{_shown(self.url)}: {error}") from error
                except (_Interrupted, httpx.TransportError) as error:
                    if isinstance(error, httpx.UnsupportedProtocol):
                        raise DownloadFailed(f"{_shown(self.url)}: {error}") from error
                    have = _size_of(self.target)
                    failures, best = (0, have) if have > best else (failures + 1, best)
                    if failures >= len(PAUSES_SECONDS):
                        raise self._given_up(error) from error
                    time.sleep(PAUSES_SECONDS[failures])
                except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
                    raise DownloadFailed(f"{_shown(self.url)}: {error}") from error
        _note_of(self.target).unlink(missing_ok=True)

    def _given_up(self, error: Exception) -> DownloadFailed:
        return DownloadFailed(
            f"{_shown(self.url)}: {str(error) or type(error).__name__}; see that the server can be reached "
            "and pull again, which goes on where this stopped"
        )

    def _continue(self, client: httpx.Client) -> None:
        """One request for what is still missing."""
        have, version = _what_is_there(self.url, self.target, self.has_digest)
        headers = self.headers | _range_headers(have, version)
        with client.stream("GET", self.url, headers=headers) as response:
            if response.status_code == 416 and have:
                _settle_416(response, have, version)
                self.stitched = True
                return
            _check_reply(response, self.url)
            start, total = _span(response, have, version)
            if self.expected_bytes is not None and total not in (None, self.expected_bytes):
                raise DownloadFailed(
                    f"{_shown(self.url)}: the server has {total:,} bytes, and the spec says "
                    f"{self.expected_bytes:,}; the file there is not the one that the spec names"
                )
            self.need_space((total or self.expected_bytes or start) - start)
            _write_note(self.target, _version_of(response, self.url, total))
            self.stitched = start > 0
            self._receive(response, start, total)

    def _receive(self, response: httpx.Response, start: int, total: int | None) -> None:
        done = start
        with self.target.open("ab" if start else "wb", buffering=BLOCK_BYTES) as file:
            for block in response.iter_raw():  # a chunk size would hold back what came before a break
                file.write(block)
                done += len(block)
                self.report(done, total)
        if total is not None and done < total:
            raise _Interrupted(f"the connection ended after {done:,} of {total:,} bytes")
        if total is not None and done > total:
            raise _NotThatVersion(f"the server sent {done:,} bytes and had announced {total:,}")


def _what_is_there(url: str, target: Path, has_digest: bool) -> tuple[int, _Version | None]:
    """How many bytes of which version may be continued; what cannot be is discarded."""
    try:
        version = msgspec.json.decode(_note_of(target).read_bytes(), type=_Version)
    except (OSError, msgspec.MsgspecError):
        version = None
    usable = version is not None and version.url == url
    if version is not None and usable and not (version.etag or version.modified):
        usable = has_digest
    if not usable:
        _discard(target)
        return 0, None
    return _size_of(target), version


def _range_headers(have: int, version: _Version | None) -> dict[str, str]:
    if not have or version is None:
        return {}
    # a weak ETag must not stand in If-Range (RFC 9110 §13.1.5): a date, or nothing and a look at the reply
    strong = version.etag if version.etag and not version.etag.startswith("W/") else version.modified
    return {"range": f"bytes={have}-"} | ({"if-range": strong} if strong else {})


def _check_reply(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if url.startswith("https:") and response.url.scheme != "https":
        raise DownloadFailed(f"{_shown(url)}: the server leads to a connection without encryption")
    if status in RETRIED:
        raise _Interrupted(f"the server answered {status}")
    if status in (401, 403):
        raise DownloadFailed(f"{_shown(url)}: not allowed ({status}); a gated repository needs HF_TOKEN")
    if status in (404, 410):
        raise DownloadFailed(f"{_shown(url)}: there is no such file ({status})")
    if status not in (200, 206):
        raise DownloadFailed(f"{_shown(url)}: the server answered {status}")
    kind = response.headers.get("content-type", "")
    if kind.startswith("text/html") and not url.endswith((".html", ".htm")):
        raise DownloadFailed(f"{_shown(url)}: the server sent a web page instead of the file")


def _span(response: httpx.Response, have: int, version: _Version | None) -> tuple[int, int | None]:
    """(first byte of the reply, size of the whole), after a look at whether the reply fits the request."""
    if response.status_code == 200:
        length = response.headers.get("content-length", "")
        return 0, int(length) if length.isdigit() else None
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("content-range", "").strip())
    if found is None or not have or int(found[1]) != have:
        raise _NotThatVersion("the server's reply is not about the bytes that were asked for")
    total = None if found[3] == "*" else int(found[3])
    if version is not None and _differs(response, version, total):
        raise _NotThatVersion("the file at the server keeps changing")
    return have, total if total is not None or version is None else version.total


def _settle_416(response: httpx.Response, have: int, version: _Version | None) -> None:
    """'Range not satisfiable': either all bytes are here already, or the file has become shorter."""
    found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("content-range", "").strip())
    if found is None or int(found[1]) != have or (version and _differs(response, version, have)):
        raise _NotThatVersion("the file at the server keeps changing")


def _differs(response: httpx.Response, version: _Version, total: int | None) -> bool:
    etag, modified = response.headers.get("etag"), response.headers.get("last-modified")
    return (
        (None not in (etag, version.etag) and etag != version.etag)
        or (None not in (modified, version.modified) and modified != version.modified)
        or (None not in (total, version.total) and total != version.total)
    )


def _version_of(response: httpx.Response, url: str, total: int | None) -> _Version:
    return _Version(
        url=url,
        etag=response.headers.get("etag"),
        modified=response.headers.get("last-modified"),
        total=total,
    )


def _note_of(target: Path) -> Path:
    return target.with_name(target.name + ".version")


def _write_note(target: Path, version: _Version) -> None:
    _note_of(target).write_bytes(msgspec.json.encode(version))


def _discard(target: Path) -> None:
    target.unlink(missing_ok=True)
    _note_of(target).unlink(missing_ok=True)


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _shown(url: str) -> str:
    """The URL without what may be secret in it: user, password and query."""
    try:
        return str(httpx.URL(url).copy_with(userinfo=b"", query=None))
    except httpx.InvalidURL:
        return "the URL of the spec"
