"""Settings that no part could work with are refused when they are read; strange variables are named."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from configs.settings import Settings, unknown_variables


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"database_url": "mysql://x"}, "must begin with postgresql:// or postgres://"),
        ({"database_url": "/var/lib/postgres"}, "must begin with postgresql://"),
        ({"redis_url": "http://x"}, "must begin with redis:// or rediss:// or unix://"),
        ({"blob_url": "s3://bucket/x"}, "blobs in S3 are not built yet"),
        ({"blob_url": "/srv/blobs"}, "must read file:///"),
        ({"blob_url": "file:relative"}, "must read file:///"),
        ({"blob_url": "file://host/blobs"}, "must read file:///"),
    ],
)
def test_a_url_of_the_wrong_kind_is_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"database_url": "postgresql://a:b@c/d"},
        {"database_url": "postgres://c/d"},
        {"redis_url": "rediss://x:1/0"},
        {"redis_url": "unix:///run/redis.sock"},
        {"blob_url": "file:///srv/blobs"},
    ],
)
def test_a_url_of_the_right_kind_is_kept(fields: dict[str, str]) -> None:
    settings = Settings(**fields)  # type: ignore[arg-type]
    assert {name: getattr(settings, name) for name in fields} == fields


def test_the_password_of_a_wrong_url_is_not_in_the_message() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(database_url="mysql://me:hunter2@x")
    assert all("hunter2" not in error["msg"] for error in refused.value.errors())


def test_a_home_that_is_a_file_or_behind_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(ValidationError, match=f"{tmp_path}/file is not a folder"):
            Settings(home=home)
    assert Settings(home=tmp_path / "not" / "yet").home == tmp_path / "not" / "yet"


def test_a_variable_that_is_none_of_ours_is_named_with_the_nearest_one() -> None:
    found = unknown_variables(
        {
            "BATCHYARD_PROT": "1",
            "batchyard_databse_url": "x",
            "BATCHYARD_SOMETHING_OF_MY_OWN": "1",
            "BATCHYARD_PORT": "1",
            "batchyard_host": "x",
            "BATCHYARD_URL": "x",
            "BATCHYARD_WHEELS": "x",
            "BATCHYARD_REQUIRE_BINDINGS": "1",
            "PATH": "/bin",
        }
    )
    assert found == [
        ("BATCHYARD_PROT", "BATCHYARD_PORT"),
        ("BATCHYARD_SOMETHING_OF_MY_OWN", None),
        ("batchyard_databse_url", "BATCHYARD_DATABASE_URL"),
    ]
