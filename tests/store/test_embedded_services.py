"""Postgres and Redis as children: start, data, death, and what an earlier run may have left behind."""

import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from store.embedded.account import run_as, service_account
from store.embedded.binaries import find_binaries
from store.embedded.errors import HomeRefused
from store.embedded.services import EmbeddedServices, Urls
from tests.fixtures.processes import NOBODY, answer_of, as_root, living, program, reachable_by, wait_until


@pytest.fixture
def services(home: Path) -> Iterator[EmbeddedServices]:
    services = EmbeddedServices(home, durable=False)
    yield services
    services.stop()


def write_row(urls: Urls) -> None:
    with psycopg.connect(urls.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")


def count_rows(urls: Urls) -> int:
    with psycopg.connect(urls.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
        assert row
        return int(row[0])


def answers(urls: Urls) -> bool:
    with redis.Redis.from_url(urls.redis_url) as client:
        return bool(client.ping()) and count_rows(urls) >= 0


def test_rows_survive_a_stop_and_a_start(services: EmbeddedServices) -> None:
    write_row(services.start())
    pids = list(services.pids().values())
    services.stop()
    assert living(pids) == []
    assert count_rows(services.start()) == 1


def test_a_home_may_have_spaces_quotes_and_commas_in_its_path(open_folder: Path) -> None:
    home = open_folder / "a home, with 'quotes' and \"more\" %20"
    with EmbeddedServices(home, durable=False) as urls:
        write_row(urls)
        assert answers(urls)


def test_a_home_whose_socket_path_is_too_long_works(home: Path) -> None:
    deep = home.parent / ("x" * 100)
    home.rename(deep)
    with EmbeddedServices(deep, durable=False) as urls:
        write_row(urls)
        assert answers(urls)
        assert str(deep) not in urls.redis_url


def test_neither_server_listens_on_a_port(services: EmbeddedServices) -> None:
    services.start()
    for pid in services.pids().values():
        assert psutil.Process(pid).net_connections("inet") == []


def test_killed_servers_come_back_with_what_was_committed(services: EmbeddedServices) -> None:
    urls = services.start()
    write_row(urls)
    pids = services.pids()
    with psycopg.connect(urls.database_url):  # a client that hangs on keeps the shared memory in use
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not living(list(pids.values())), 5, "both have ended")
        assert sorted(services.revive()) == ["Postgres", "Redis"]
    assert count_rows(urls) == 1
    assert answers(urls)
    assert services.revive() == []


def test_killing_the_owner_leaves_nothing_running_and_the_next_start_works(home: Path) -> None:
    with program("run_services.py", home) as owner:
        answer = answer_of(owner)
        urls = Urls(answer["database_url"], answer["redis_url"])
        write_row(urls)
        family = [child.pid for child in psutil.Process(owner.pid).children(recursive=True)]
        assert set(answer["pids"]) <= set(family)
        owner.kill()
        wait_until(lambda: not living(family), 10, "every process of the services has ended")
    with EmbeddedServices(home, durable=False) as urls:
        assert count_rows(urls) == 1


def test_a_postgres_that_outlived_its_owner_is_ended_first(services: EmbeddedServices, home: Path) -> None:
    write_row(services.start())
    services.stop()
    account = service_account(home / "postgres")
    postgres = find_binaries(home, account).postgres
    command = [
        str(postgres),
        "-D",
        str(home / "postgres"),
        "-c",
        "listen_addresses=",
        "-k",
        str(home / "run"),
    ]
    survivor = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=home, **run_as(account))
    try:
        wait_until(lambda: (home / "postgres" / "postmaster.pid").exists(), 10, "the survivor is up")
        assert count_rows(services.start()) == 1
    finally:
        survivor.kill()
        survivor.wait()


def test_a_pid_file_that_names_somebody_else_is_stale(services: EmbeddedServices, home: Path) -> None:
    account = service_account(home / "postgres")
    bystander = subprocess.Popen(["sleep", "60"], **run_as(account))
    try:
        lines = [
            str(bystander.pid),
            str(home / "postgres"),
            str(int(time.time())),
            "5432",
            "",
            "",
            "",
            "ready",
        ]
        (home / "postgres" / "postmaster.pid").write_text("\n".join(lines) + "\n")
        write_row(services.start())
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("content", ["", "not a number\n", "999999999\n"])
def test_a_damaged_pid_file_does_not_stop_the_start(
    services: EmbeddedServices, home: Path, content: str
) -> None:
    (home / "postgres" / "postmaster.pid").write_text(content)
    write_row(services.start())


def test_an_interrupted_first_start_is_begun_anew(open_folder: Path) -> None:
    home = open_folder / "interrupted"
    (home / "postgres.new" / "base").mkdir(parents=True)
    home.chmod(0o711)
    (home / "postgres.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedServices(home, durable=False) as urls:
        write_row(urls)
    assert not (home / "postgres.new").exists()


def test_data_of_another_major_version_are_refused_by_number(services: EmbeddedServices, home: Path) -> None:
    (home / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(HomeRefused, match=r"made by Postgres 16, this is 18"):
        services.start()
    assert services.pids() == {}


def test_a_server_that_is_named_by_url_is_not_started(home: Path) -> None:
    with EmbeddedServices(home, database_url="postgresql://elsewhere/db") as urls:
        assert urls.database_url == "postgresql://elsewhere/db"
        with redis.Redis.from_url(urls.redis_url) as client:
            assert client.ping()


@as_root
def test_for_root_the_servers_run_as_an_unprivileged_account(services: EmbeddedServices, home: Path) -> None:
    services.start()
    for pid in services.pids().values():
        assert psutil.Process(pid).uids().real != 0
    assert stat.S_IMODE((home / "postgres").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "run").stat().st_mode) == 0o700


@as_root
def test_an_ordinary_account_runs_them_as_itself(open_folder: Path) -> None:
    if not reachable_by(NOBODY, Path(__file__)):
        pytest.skip("the clone is closed to ordinary accounts")
    folder = open_folder / "ordinary"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    with program("run_services.py", folder / "home", NOBODY) as owner:
        answer = answer_of(owner)
        write_row(Urls(answer["database_url"], answer["redis_url"]))
        assert {psutil.Process(pid).uids().real for pid in answer["pids"]} == {NOBODY}
    assert living(answer["pids"]) == []


@as_root
def test_data_of_another_account_are_refused_by_name(open_folder: Path) -> None:
    if not reachable_by(NOBODY, Path(__file__)):
        pytest.skip("the clone is closed to ordinary accounts")
    home = open_folder / "of-somebody-else"
    (home / "postgres").mkdir(parents=True)
    with program("run_services.py", home, NOBODY) as process:
        answer = answer_of(process)
    assert answer["kind"] == "HomeRefused"
    assert f"{home / 'postgres'} belongs to another account (uid 0)" in answer["error"]
