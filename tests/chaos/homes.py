"""Homes for runs: a copy each of one that is initialised, migrated, and has three API keys."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from store import migrate
from store.embedded.services import EmbeddedServices
from store.keys import hash_key
from tests.chaos.plan import SPECS

KEYS = ("sk-chaos-of-the-first", "sk-chaos-of-the-second", "sk-chaos-of-the-third")


@contextmanager
def session_folder() -> Iterator[Path]:
    """A folder that every account may pass through: as root, Postgres runs as another one. What a failed
    run left there stays."""
    folder = Path(tempfile.mkdtemp(prefix="batchyard-chaos-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder / "template", ignore_errors=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def make_template(folder: Path) -> Path:
    """The home that runs get copies of."""
    template = folder / "template"
    with EmbeddedServices(template, durable=False) as urls:
        migrate.upgrade(urls.database_url)
        with psycopg.connect(urls.database_url, autocommit=True) as conn:
            for secret in KEYS:
                conn.execute(
                    "INSERT INTO api_key (project_id, name, hash) VALUES (1, 'chaos', %s)",
                    (hash_key(secret),),
                )
    (template / "specs").mkdir()
    for name, options in SPECS.items():
        text = f"name: {name}\nfamily: echo\noptions: {options}\n"
        (template / "specs" / f"{name}.yaml").write_text(text)
    return template


def copy_home(template: Path, home: Path) -> None:
    # `cp -a` keeps the owner of the data, which `shutil` does not.
    subprocess.run(["cp", "-a", template, home], check=True)


def remove_home(home: Path) -> None:
    shutil.rmtree(home)
    home.with_name(home.name + ".up.log").unlink(missing_ok=True)
