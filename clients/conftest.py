"""A PostgreSQL server for all tests, with the tables in it."""

import os
from collections.abc import Iterator, Mapping

import psycopg
import pytest

from patchkit import ROOT, suite
from patchkit.checkout import Fork
from patchkit.demo import empty_database, make_tables
from tests_ticket31997.patience import wait_until

FORK = Fork()


@pytest.fixture(scope="session")
def server() -> Iterator[Mapping[str, str]]:
    """The environment for the patched tree in "thread", with an empty database."""
    with empty_database("postgresql") as env:
        variables = suite.environment(FORK, "django", "thread", env) | {
            "DJANGO_SETTINGS_MODULE": "tests_ticket31997.settings.postgresql",
            "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
        }
        variables["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
        make_tables(variables)
        yield variables


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


def texts(database: psycopg.Connection) -> list[str]:
    """Return the texts of all questions, sorted."""
    query = "SELECT question_text FROM tests_ticket31997_question"
    return sorted(text for (text,) in database.execute(query))
