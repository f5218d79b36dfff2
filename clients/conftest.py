"""A PostgreSQL server for all tests, with the tables in it, and what they share."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest

from patchkit import ROOT, suite
from patchkit.databases import empty_database, make_tables
from patchkit.fork import Fork
from patchkit.shapes import CONTEXT, RUNS, THREAD, Run
from tests_ticket31997.patience import PROGRAM_PATIENCE, wait_until

FORK = Fork()
# A project that test_wheel.py copies, and runs the tests of.
collect_ignore = ["project"]

in_both_scopes = pytest.mark.parametrize(
    "run", (CONTEXT, THREAD), ids=lambda run: run.scope
)
# Unpatched Django too, to which "context" has to be the same.
in_all_runs = pytest.mark.parametrize("run", RUNS, ids=lambda run: run.title)


@pytest.fixture(scope="session")
def server() -> Iterator[Mapping[str, str]]:
    """The environment for the patched tree in "thread", with an empty database."""
    with empty_database("postgresql") as env:
        variables = environment(env, THREAD)
        make_tables(variables)
        yield variables


def environment(env: Mapping[str, str], run: Run) -> dict[str, str]:
    """Return the environment that programs are run in.

    Args:
        env: the variables to begin with, such as those of server().
        run: the tree and the scope.

    Returns:
        The variables; both the tree and this repository are on Python's path.
    """
    variables = suite.environment(FORK, run.tree, run.scope, env) | {
        "DJANGO_SETTINGS_MODULE": "clients.site.settings",
        "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
    }
    variables["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
    return variables


def tell(env: Mapping[str, str], run: Run, program: str) -> Any:
    """Run a program in a process of its own.

    Args:
        env: the variables to begin with.
        run: the tree and the scope.
        program: its code, which prints JSON.

    Returns:
        What it printed.

    Raises:
        subprocess.CalledProcessError: it failed; its error is in the output.
    """
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(env, run),
        stdout=subprocess.PIPE,
        timeout=PROGRAM_PATIENCE,
        check=True,
    )
    return json.loads(result.stdout)


def refusal(owner: str) -> str:
    """Return the pattern of what those are told who meet a task's open block.

    Args:
        owner: the pattern of the task's coroutine and of the file where it awaits.
    """
    message = (
        "The task OWNER is in an atomic block on the connection 'default'. End the "
        "block before awaiting, start this code's task inside it, hold an asyncio.Lock "
        "around blocks that await, or use isolated_connections()."
    )
    return re.escape(message).replace("OWNER", rf"'Task-\d+' \({owner}:\d+\)")


def connect(server: Mapping[str, str]) -> psycopg.Connection:
    """Return a connection of its own to the database."""
    return psycopg.connect(
        host=server.get("PGHOST"),
        port=server.get("PGPORT"),
        user=server.get("PGUSER"),
        dbname="ticket31997_default",
        autocommit=True,
    )


@pytest.fixture
def database(server: Mapping[str, str]) -> Iterator[psycopg.Connection]:
    """A connection of its own to the database, whose tables are empty."""
    with connect(server) as connection:
        # Those of the test before may still be ending.
        wait_until(lambda: not backends(connection))
        connection.execute("TRUNCATE tests_ticket31997_question CASCADE")
        yield connection


def backends(database: psycopg.Connection) -> set[int]:
    """Return the process ids of the backends that serve other clients."""
    rows = database.execute(
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return {pid for (pid,) in rows}


def has_transaction(database: psycopg.Connection) -> bool:
    """Return whether another client has a transaction open."""
    query = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
    )
    return bool(database.execute(query).fetchall())


def texts(database: psycopg.Connection) -> list[str]:
    """Return the texts of all questions, sorted."""
    query = "SELECT question_text FROM tests_ticket31997_question"
    return sorted(text for (text,) in database.execute(query))
