"""The server of a run: it ends with the run, however that ends."""

import json
import os
import signal
from pathlib import Path

import pytest

from patchkit import KitError, databases, mysql, postgresql
from patchkit.tests.conftest import run_python
from tests_ticket31997.patience import PATIENCE, wait_until

RUN = """
import json, sys
from patchkit import databases
with databases.server(sys.argv[1]) as env:
    print(json.dumps(dict(env)))
    print("up", flush=True)
    input()
"""
# What says where the server is: something in its directory.
PLACES = {"postgresql": "PGHOST", "mysql": "MYSQL_UNIX_PORT"}


@pytest.fixture(autouse=True)
def no_server_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*postgresql.LOCATION, *mysql.LOCATION):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=databases.SERVERS)
def database(request: pytest.FixtureRequest) -> str:
    if request.param == "mysql":
        try:
            mysql.installation()
        except KitError as e:
            pytest.skip(str(e))
    return str(request.param)


def test_it_answers_and_stops(database: str) -> None:
    execute = databases.SERVERS[database].execute
    with databases.server(database) as env:
        execute(env, "CREATE DATABASE one", "DROP DATABASE one")
        directory = Path(env[PLACES[database]]).parent
        assert directory.is_dir()
    assert not directory.exists()
    with pytest.raises(KitError, match="can't be reached"):
        execute(env)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_the_run_is_killed(database: str, number: signal.Signals) -> None:
    execute = databases.SERVERS[database].execute
    with run_python(RUN, database) as process:
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        env = json.loads(next(line for line in lines if line.startswith("{")))
        assert next(lines) == "up\n"
        execute(env)
        process.send_signal(number)
        process.wait(PATIENCE)
    directory = Path(env[PLACES[database]]).parent
    wait_until(lambda: not directory.exists())
    with pytest.raises(KitError, match="can't be reached"):
        execute(env)


@pytest.mark.parametrize(
    ("name", "variable"), [("postgresql", "PGHOST"), ("mysql", "MYSQL_TCP_PORT")]
)
def test_the_users_server_is_left_alone(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with databases.server(name) as env:
        assert env == dict(os.environ)
