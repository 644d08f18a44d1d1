"""Downloads against a server that drops connections, changes the file and lies about ranges."""

import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from backends.weights import download, sources
from backends.weights.cache import model_folder
from backends.weights.pull import PullFailed, PullProgress, pull
from configs.models import ModelFile, ModelSpec
from configs.settings import Settings
from tests.fixtures.range_server import RangeServer, range_server

CONTENT = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)
DIGEST = sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setattr(download, "PAUSES_SECONDS", (0.0, 0.0, 0.0))
    with range_server() as running:
        running.content = CONTENT
        yield running


@pytest.fixture
def hub(server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> RangeServer:
    """The server as the endpoint of `hf:` sources, which need no digest."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models=tmp_path / "models")


def spec_of(source: str, *, digest: str | None = DIGEST, size: int | None = None) -> ModelSpec:
    file = ModelFile(path="weights.bin", source=source, sha256=digest, size_bytes=size)
    return ModelSpec(name="remote", family="echo", files=(file,))


UNCHECKED = spec_of("hf:owner/name/f.bin@main", digest=None)


def pulled(spec: ModelSpec, settings: Settings) -> bytes:
    return (pull(spec, settings, runtimes=["echo"]) / "weights.bin").read_bytes()


def interrupt(spec: ModelSpec, settings: Settings, server: RangeServer, at: int) -> None:
    """Pull until the server has sent `at` bytes, then let every further try fail."""
    server.drops = [at]
    server.statuses = [200, 503, 503, 503, 503]
    with pytest.raises(PullFailed):
        pull(spec, settings, runtimes=["echo"])
    server.statuses = []
    server.asked.clear()
    folder = model_folder(settings, spec)
    assert not (folder / "weights.bin").exists()
    assert sum(path.stat().st_size for path in (folder / ".incoming").glob("*.bin")) == at


def test_a_file_arrives_whole_and_with_progress(server: RangeServer, settings: Settings) -> None:
    seen: list[PullProgress] = []
    spec = spec_of(f"{server.url}/a/b.bin", size=len(CONTENT))
    folder = pull(spec, settings, runtimes=["echo"], progress=seen.append)
    assert (folder / "weights.bin").read_bytes() == CONTENT
    assert max(p.done_bytes for p in seen if p.phase == "downloading") == len(CONTENT)
    assert seen[-1].phase == "done"
    assert not (folder / ".incoming").exists()


def test_a_dropped_connection_is_resumed_where_it_broke(server: RangeServer, settings: Settings) -> None:
    server.drops = [100_000, 50_000]
    assert pulled(spec_of(f"{server.url}/f"), settings) == CONTENT
    assert [asked[1] for asked in server.asked] == [None, "bytes=100000-", "bytes=150000-"]
    assert server.asked[1][2] == '"v1"'


def test_a_later_pull_goes_on_where_an_earlier_one_stopped(server: RangeServer, settings: Settings) -> None:
    spec = spec_of(f"{server.url}/f")
    interrupt(spec, settings, server, 120_000)
    assert pulled(spec, settings) == CONTENT
    assert [asked[1] for asked in server.asked] == ["bytes=120000-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: RangeServer, settings: Settings) -> None:
    spec = spec_of(f"{server.url}/f", digest=sha256(OTHER).hexdigest())
    interrupt(spec, settings, server, 120_000)
    server.content, server.etag = OTHER, '"v2"'
    assert pulled(spec, settings) == OTHER
    assert server.asked[0][1:] == ("bytes=120000-", '"v1"')


def test_a_changed_file_is_noticed_without_if_range(hub: RangeServer, settings: Settings) -> None:
    """A weak ETag cannot stand in If-Range: the reply's own ETag has to tell, also where no digest would."""
    hub.etag = 'W/"v1"'
    interrupt(UNCHECKED, settings, hub, 120_000)
    hub.content, hub.etag = OTHER, 'W/"v2"'
    assert pulled(UNCHECKED, settings) == OTHER
    assert [asked[1:] for asked in hub.asked] == [("bytes=120000-", None), (None, None)]


def test_the_date_stands_in_for_a_missing_etag(server: RangeServer, settings: Settings) -> None:
    server.etag, server.modified = None, "Wed, 21 Oct 2026 07:28:00 GMT"
    spec = spec_of(f"{server.url}/f")
    interrupt(spec, settings, server, 120_000)
    assert pulled(spec, settings) == CONTENT
    assert server.asked[0][1:] == ("bytes=120000-", server.modified)


def test_without_version_and_digest_nothing_is_continued(hub: RangeServer, settings: Settings) -> None:
    hub.etag = None
    hub.drops = [120_000]
    assert pulled(UNCHECKED, settings) == CONTENT
    assert [asked[1] for asked in hub.asked] == [None, None]


def test_a_server_without_ranges_sends_everything_again(server: RangeServer, settings: Settings) -> None:
    server.ranges = False
    server.drops = [100_000]
    assert pulled(spec_of(f"{server.url}/f"), settings) == CONTENT


def test_a_reply_about_other_bytes_is_not_believed(server: RangeServer, settings: Settings) -> None:
    spec = spec_of(f"{server.url}/f")
    interrupt(spec, settings, server, 120_000)
    server.lie = "start"
    assert pulled(spec, settings) == CONTENT
    assert [asked[1] for asked in server.asked] == ["bytes=120000-", None]


def test_wrong_bytes_under_a_right_range_are_found_by_the_digest(
    server: RangeServer, settings: Settings
) -> None:
    spec = spec_of(f"{server.url}/f")
    interrupt(spec, settings, server, 120_000)
    server.lie = "bytes"
    assert pulled(spec, settings) == CONTENT
    assert [asked[1] for asked in server.asked] == ["bytes=120000-", None]


def test_a_download_that_was_complete_is_only_checked(server: RangeServer, settings: Settings) -> None:
    spec = spec_of(f"{server.url}/f")
    interrupt(spec, settings, server, 120_000)
    partial = next((model_folder(settings, spec) / ".incoming").glob("*.bin"))
    partial.write_bytes(CONTENT)
    assert pulled(spec, settings) == CONTENT
    assert [asked[1] for asked in server.asked] == [f"bytes={len(CONTENT)}-"]


def test_a_file_that_became_shorter_is_fetched_anew(hub: RangeServer, settings: Settings) -> None:
    """Under the same ETag, as a careless server may have it."""
    interrupt(UNCHECKED, settings, hub, 120_000)
    hub.content = CONTENT[:50_000]
    assert pulled(UNCHECKED, settings) == CONTENT[:50_000]


def test_a_digest_that_differs_is_refused_and_nothing_is_kept(
    server: RangeServer, settings: Settings
) -> None:
    server.content = OTHER
    spec = spec_of(f"{server.url}/f")
    with pytest.raises(PullFailed, match=r"weights\.bin.*SHA-256") as caught:
        pull(spec, settings, runtimes=["echo"])
    assert caught.value.code == "model_not_ready"
    assert str(settings.models) not in caught.value.message
    assert not (model_folder(settings, spec) / "weights.bin").exists()
    assert len(server.asked) == 1


def test_a_size_that_differs_is_refused_before_the_download(server: RangeServer, settings: Settings) -> None:
    with pytest.raises(PullFailed, match=r"300,000 bytes.*the spec says 17"):
        pull(spec_of(f"{server.url}/f", size=17), settings, runtimes=["echo"])


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "no such file"), (403, "HF_TOKEN"), (401, "HF_TOKEN"), (418, "answered 418"), (503, "pull again")],
)
def test_a_refusal_says_what_to_do(server: RangeServer, settings: Settings, status: int, reason: str) -> None:
    server.statuses = [status] * 9
    with pytest.raises(PullFailed, match=reason):
        pull(spec_of(f"{server.url}/f?token=secret"), settings, runtimes=["echo"])


def test_secrets_of_a_url_are_not_shown(server: RangeServer, settings: Settings) -> None:
    server.statuses = [404]
    with pytest.raises(PullFailed) as caught:
        pull(
            spec_of(f"http://me:word@127.0.0.1:{server.server_port}/f?token=hush"),
            settings,
            runtimes=["echo"],
        )
    assert "hush" not in caught.value.message
    assert "word" not in caught.value.message


def test_a_server_that_is_not_there_is_named(server: RangeServer, settings: Settings) -> None:
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(PullFailed, match=r"127\.0\.0\.1.*pull again"):
        pull(spec_of(f"{url}/f"), settings, runtimes=["echo"])


def test_a_web_page_is_not_taken_for_a_file(server: RangeServer, settings: Settings) -> None:
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(PullFailed, match="web page"):
        pull(spec_of(f"{server.url}/f"), settings, runtimes=["echo"])


def test_plain_http_needs_a_digest(server: RangeServer, settings: Settings) -> None:
    with pytest.raises(PullFailed, match="sha256"):
        pull(spec_of(f"{server.url}/f", digest=None), settings, runtimes=["echo"])
    assert server.asked == []


def test_a_full_disk_is_refused_before_it_is_full(
    server: RangeServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SPACE_MARGIN_BYTES", 10**18)
    with pytest.raises(PullFailed, match=r"free.*BATCHYARD_MODELS"):
        pull(spec_of(f"{server.url}/f"), settings, runtimes=["echo"])


def test_offline_asks_no_server(server: RangeServer, settings: Settings) -> None:
    offline = settings.model_copy(update={"offline": True})
    with pytest.raises(PullFailed, match="BATCHYARD_OFFLINE"):
        pull(spec_of(f"{server.url}/f"), offline, runtimes=["echo"])
    assert server.asked == []


def test_a_hub_source_becomes_a_resolve_url_with_the_token(
    server: RangeServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    assert pulled(spec_of("hf:owner/name/sub dir/model.gguf@refs/pr/1"), settings) == CONTENT
    assert server.asked[0][0] == "/owner/name/resolve/refs%2Fpr%2F1/sub%20dir/model.gguf"
    assert server.headers_seen[0]["authorization"] == "Bearer hf_abc"


@pytest.mark.parametrize("source", ["hf:owner/name/file", "hf:name@main", "hf:owner/name@main"])
def test_a_hub_source_needs_owner_name_file_and_revision(settings: Settings, source: str) -> None:
    with pytest.raises(PullFailed, match=r"hf:<owner>/<name>/<file>@<revision>"):
        pull(spec_of(source), settings, runtimes=["echo"])
