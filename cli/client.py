"""Talking to a running service over HTTP: what every verb that is not the service itself stands on."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx

from cli.errors import CommandFailed

TIMEOUT = httpx.Timeout(120.0, connect=5.0)
PART_BYTES = 32 * 1024**2  # a larger file goes up in parts of this size, so that no request is long
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Object = dict[str, Any]


class ServiceUnreachable(CommandFailed):
    """Nothing answers at the URL, or not in time."""


class ServiceRefused(CommandFailed):
    """The service answered with an error. `code` is a key of `docs/errors.md`."""

    def __init__(self, message: str, *, status: int, code: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client:
    """One connection to a service. Every method raises `ServiceUnreachable` or `ServiceRefused`."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        """`url`: with or without its `/v1`. Raises ValueError when it is not a http(s) URL."""
        try:
            self.url = httpx.URL(url.rstrip("/").removesuffix("/v1"))
        except httpx.InvalidURL as error:
            raise ValueError(f"'{url}' is not a URL: {error}") from None
        if self.url.scheme not in ("http", "https") or not self.url.host:
            raise ValueError(f"'{url}' must read http://HOST:PORT or https://HOST")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=TIMEOUT,
            trust_env=self.url.host not in LOOPBACK,  # a proxy cannot know this machine's loopback
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: str | int) -> Object:
        return self._object("GET", path, params=params)

    def post(self, path: str, body: Object | None = None) -> Object:
        return self._object("POST", path, json=body or {})

    def delete(self, path: str) -> Object:
        return self._object("DELETE", path)

    def upload(
        self,
        path: Path,
        *,
        purpose: str = "batch",
        mime_type: str = "application/jsonl",
        keep_seconds: int | None = None,
        report: Callable[[int], None] = lambda done: None,
    ) -> str:
        """Store a file, in one request or in parts; returns its id. `report` takes the bytes sent.
        `keep_seconds`: for how long, in place of what its purpose says."""
        size = path.stat().st_size
        kept = {} if keep_seconds is None else {"anchor": "created_at", "seconds": keep_seconds}
        if size > PART_BYTES:
            wanted = {"bytes": size, "filename": _name(path), "mime_type": mime_type, "purpose": purpose}
            return self._upload_in_parts(path, wanted | ({"expires_after": kept} if kept else {}), report)
        with path.open("rb") as file:
            form = {"file": (_name(path), _Slice(file, 0, size, report), mime_type)}
            fields = {"purpose": purpose} | {f"expires_after[{key}]": str(kept[key]) for key in kept}
            return str(self._object("POST", "/v1/files", files=form, data=fields)["id"])

    @contextmanager
    def stream(self, path: str, **params: str | int) -> Iterator[httpx.Response]:
        """A reply whose body is read as it comes (`iter_bytes`, `iter_lines`)."""
        with self._mapped(), self._http.stream("GET", path, params=params) as response:
            if response.is_error:
                response.read()
            _check(response)
            yield response

    def _upload_in_parts(self, path: Path, wanted: Object, report: Callable[[int], None]) -> str:
        size: int = wanted["bytes"]
        upload = self.post("/v1/uploads", wanted)["id"]
        parts: list[str] = []
        try:
            with path.open("rb") as file:
                for start in range(0, size, PART_BYTES):
                    part = _Slice(file, start, min(PART_BYTES, size - start), report)
                    form = {"data": ("part", part, "application/octet-stream")}
                    parts.append(self._object("POST", f"/v1/uploads/{upload}/parts", files=form)["id"])
            return str(self.post(f"/v1/uploads/{upload}/complete", {"part_ids": parts})["file"]["id"])
        except BaseException:
            self._try_to_cancel(upload)
            raise

    def _try_to_cancel(self, upload: str) -> None:
        try:
            self.post(f"/v1/uploads/{upload}/cancel")
        except CommandFailed:
            return  # it expires by itself

    def _object(self, method: str, path: str, **request: Any) -> Object:
        with self._mapped():
            response = self._http.request(method, path, **request)
        _check(response)
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CommandFailed(f"{self.url} answers, but not like a Batchyard service; see --url")
        return found

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """The one place where httpx's errors become ours."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise ServiceUnreachable(
                f"no service answers at {self.url}; start one with 'batchyard up', or name it with "
                "--url or BATCHYARD_URL"
            ) from None
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise ServiceUnreachable(f"the connection to {self.url} failed: {reason}") from None


def _name(path: Path) -> str:
    """A file's name as text: on disk it need not be any."""
    return path.name.encode("utf-8", "replace").decode()


def _check(response: httpx.Response) -> None:
    """Turn an error reply into an exception, with the message of OpenAI's envelope where it has one. A
    service without its database, or a proxy without its service, is as good as away."""
    if not response.is_error:
        return
    try:
        error = response.json()["error"]
        message, code = str(error["message"]), error.get("code")
    except (ValueError, LookupError, TypeError):
        message, code = response.reason_phrase or "error", None
    if response.status_code == httpx.codes.UNAUTHORIZED:
        message += " Name one with --api-key or BATCHYARD_API_KEY."
    label = f"{code}, {response.status_code}" if code else str(response.status_code)
    if code == "service_unavailable" or (code is None and response.status_code in (502, 503, 504)):
        raise ServiceUnreachable(f"{response.url.host} answers, but cannot serve: {message} ({label})")
    raise ServiceRefused(f"{message} ({label})", status=response.status_code, code=code)


class _Slice:
    """A part of a file as a file of its own, read block by block; `report` takes the place in the whole.

    It has no `fileno`, from which httpx would take the size of the whole.
    """

    def __init__(self, file: IO[bytes], start: int, size: int, report: Callable[[int], None]) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._place = 0
        self._report = report

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._place
        self._file.seek(self._start + self._place)
        block = self._file.read(left if size < 0 else min(size, left))
        self._place += len(block)
        self._report(self._start + self._place)
        return block

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = origin + offset
        return self._place

    def tell(self) -> int:
        return self._place
