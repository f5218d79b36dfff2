"""Ctrl+C: nothing is left behind, neither on the user's server nor on disk."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from patchkit import ROOT, postgresql, processes
from patchkit.fork import Fork
from patchkit.tests.conftest import run_python
from tests_ticket31997.patience import PATIENCE, ending, wait_until

# Cleans up, for which it needs its time, and tells what it got.
PROGRAM = """
import signal, sys, time
got = []
signal.signal(signal.SIGINT, lambda *args: got.append(1))
print("up", flush=True)
while not got:
    time.sleep(0.01)
print("cleaning up", flush=True)
time.sleep(1)
print(f"cleaned up after {len(got)} signal(s)", flush=True)
"""
RUN = f"""
import sys
from patchkit import processes
try:
    with processes.leaving_nothing():
        processes.run([sys.executable, "-c", {PROGRAM!r}])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A user's server, as libpq's variables say."""
    for name in postgresql.LOCATION:
        monkeypatch.delenv(name, raising=False)
    with postgresql.server() as env:
        yield env


def databases(env: dict[str, str]) -> set[str]:
    """Return the names of the ticket's databases."""
    with psycopg.connect(
        host=env["PGHOST"], port=env["PGPORT"], user=env["PGUSER"], dbname="postgres"
    ) as connection:
        rows = connection.execute("SELECT datname FROM pg_database").fetchall()
    return {name for (name,) in rows if "ticket31997" in name}


@pytest.mark.parametrize(
    ("command", "database"),
    [
        (["demo"], "ticket31997_default"),
        (
            ["runtests", "--scope=thread", "transactions", "db_utils"],
            "test_ticket31997_default",
        ),
    ],
    ids=["demo", "runtests"],
)
def test_interrupted(
    server: dict[str, str], tmp_path: Path, command: list[str], database: str
) -> None:
    """As at a terminal, which sends the signal to all."""
    before = sorted(Fork().fork.iterdir())
    with (
        subprocess.Popen(
            [sys.executable, "-m", "patchkit", *command, "--database=postgresql"],
            cwd=ROOT,
            env=server | {"TMPDIR": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
        ending(process),
    ):
        wait_until(lambda: database in databases(server))
        assert any(tmp_path.iterdir())
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate()
    assert process.returncode == 130, output
    assert output.endswith("Interrupted.\n")
    assert databases(server) == set()
    assert list(tmp_path.iterdir()) == []
    assert sorted(Fork().fork.iterdir()) == before


def to_all(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)


def to_the_run(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("send", [to_all, to_the_run])
def test_a_program_is_told_once_and_waited_for(
    send: Callable[[subprocess.Popen[str]], None],
) -> None:
    code = RUN.replace("with", "processes.PATIENCE = 5\n    with", 1)
    with run_python(code, session=True) as process:
        assert process.stdout and process.stdout.readline() == "up\n"
        send(process)
        assert process.stdout.readline() == "cleaning up\n"
        # As tox does.
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "cleaned up after 1 signal(s)\n"
        assert process.stdout.readline() == "interrupted\n"


def test_a_program_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.1)
    code = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""
    with (
        pytest.raises(KeyboardInterrupt),
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
        processes.ending(process),
    ):
        assert process.stdout and process.stdout.readline() == "up\n"
        raise KeyboardInterrupt
    assert process.wait(PATIENCE) == -signal.SIGKILL


def test_temporary_files_are_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    handler = signal.getsignal(signal.SIGINT)
    code = "import tempfile; print(tempfile.mkdtemp())"
    with processes.leaving_nothing():
        made = subprocess.check_output([sys.executable, "-c", code], text=True)
        assert Path(made.strip()).is_dir()
    assert not Path(made.strip()).exists()
    assert "TMPDIR" not in os.environ
    assert signal.getsignal(signal.SIGINT) is handler
