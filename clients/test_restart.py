"""A server that is restarted under a program: one error, and then all is well."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

from clients.conftest import connect, texts
from patchkit import postgresql, servers
from tests_ticket31997.patience import PATIENCE, ending

PROGRAM = """\
import asyncio, django
django.setup()
from django.db import Error, close_old_connections, connection
from django.db.transaction import atomic
from tests_ticket31997.models import Question

def restart():
    print("restart", flush=True)
    input()

async def task(text, in_block=lambda: None):
    with atomic():
        Question.objects.create(question_text=text)
        in_block()

def attempt(*arguments):
    try:
        asyncio.run(task(*arguments))
        print("ok", flush=True)
    except Error as e:
        print(f"{type(e).__name__} {connection.in_atomic_block}", flush=True)

attempt("before")
restart()
attempt("between tasks")
# As Django does between requests, and Celery between jobs.
close_old_connections()
attempt("after")
attempt("in a block", restart)
# Django has closed the connection at the end of the block.
attempt("at last")
"""


def restart(server: Mapping[str, str]) -> None:
    """Restart the server that server() has started."""
    data = Path(server["PGHOST"])
    # The command that it was started with.
    postgres, *_ = (data / "postmaster.opts").read_text().split()
    subprocess.run(
        [
            Path(postgres).parent / "pg_ctl",
            f"--pgdata={data}",
            "--mode=fast",
            "--wait",
            f"--timeout={PATIENCE}",
            "restart",
        ],
        cwd="/",
        user=(data / "PG_VERSION").stat().st_uid,
        stdout=subprocess.DEVNULL,
        check=True,
    )


@pytest.mark.skipif(
    bool(servers.chosen(postgresql.LOCATION)),
    reason="somebody's own server isn't restarted",
)
def test_restart(server: Mapping[str, str], database: psycopg.Connection) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=server,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = []
    with ending(process):
        assert process.stdin and process.stdout
        for line in map(str.strip, process.stdout):
            if line == "restart":
                restart(server)
                process.stdin.write("\n")
                process.stdin.flush()
            else:
                said.append(line)
    assert said == [
        "ok",
        "OperationalError False",
        "ok",
        "OperationalError False",
        "ok",
    ]
    assert process.returncode == 0
    with connect(server) as connection:
        assert texts(connection) == ["after", "at last", "before"]
