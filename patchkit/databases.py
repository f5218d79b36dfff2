"""The databases that everything is run on, and what is needed to run on one."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import ModuleType

from patchkit import mysql, postgresql

# Each has server(), and execute() for statements.
SERVERS: Mapping[str, ModuleType] = {"postgresql": postgresql, "mysql": mysql}
DATABASES = ("sqlite", *SERVERS)


def server(database: str) -> AbstractContextManager[Mapping[str, str]]:
    """Provide what a database needs.

    Args:
        database: one of DATABASES.

    Returns:
        A context manager that gives the environment for the commands.

    Raises:
        NoServer: it needs a server, and there is none.
        KitError: the server can't be started.
    """
    known = SERVERS.get(database)
    return known.server() if known else nullcontext(os.environ)


@contextmanager
def empty_database(name: str) -> Iterator[Mapping[str, str]]:
    """Provide an empty database.

    Args:
        name: one of DATABASES.

    Yields:
        The environment for the commands that use it.

    Raises:
        KitError: there is no server, or it can't be reached.
    """
    with server(name) as env:
        if name not in SERVERS:
            yield env
            return
        # Each time anew: the server may be restarted meanwhile.
        execute = partial(SERVERS[name].execute, env)
        # MySQL's system checks look at each database of the settings.
        names = ("ticket31997_default", "ticket31997_other")
        force = " WITH (FORCE)" if name == "postgresql" else ""
        drop = [f"DROP DATABASE IF EXISTS {each}{force}" for each in names]
        execute(*drop)
        try:
            execute(*[f"CREATE DATABASE {each}" for each in names])
            yield env
        finally:
            execute(*drop)


def make_tables(env: Mapping[str, str]) -> None:
    """Make the tables of the demo's models.

    Args:
        env: the variables, with Django on the path and its settings module.

    Raises:
        subprocess.CalledProcessError: they can't be made.
    """
    command = ("-m", "django", "migrate", "--run-syncdb", "--verbosity=0")
    subprocess.run([sys.executable, *command], env=env, check=True)
