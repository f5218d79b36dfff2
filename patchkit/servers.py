"""What the database servers of a run have in common."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from patchkit import ROOT, KitError, say

type Variables = dict[str, str]


class NoServer(KitError):
    """There is no server, and none that could be started."""


class Database(Protocol):
    """What the module of a database with a server has."""

    def server(self) -> AbstractContextManager[Variables]:
        """Provide a server.

        Returns:
            A context manager that gives the environment for the commands, in which
            their driver finds the server.

        Raises:
            NoServer: there is none.
            KitError: it can't be started.
        """

    def execute(self, env: Mapping[str, str], *statements: str) -> None:
        """Execute statements on the server, each in a transaction of its own.

        Args:
            env: the environment in which it's found.
            statements: the SQL.

        Raises:
            KitError: the server can't be reached.
        """


def chosen(names: Sequence[str]) -> Variables:
    """Return those of some variables that are set.

    Args:
        names: the variables by which users say where their server is.

    Returns:
        Those that are in the environment and not empty.
    """
    return {name: os.environ[name] for name in names if os.environ.get(name)}


@contextmanager
def own(name: str) -> Iterator[Variables]:
    """Provide the user's own server to one command at a time.

    They all have databases of the same names, and `make test` runs some at once.

    Args:
        name: the server's; each has a lock.

    Yields:
        The environment, as it is.
    """
    with FileLock(ROOT / "django-fork" / f".{name}-lock"):
        yield dict(os.environ)


@contextmanager
def kept(module: str, title: str, *arguments: object) -> Iterator[Variables]:
    """Provide a server in a temporary directory to the commands inside the block.

    A process of its own starts that server and stops it, and removes its data, when
    this one ends in whatever way: it waits for the end of a pipe, which the kernel
    closes even if this process is killed.

    Args:
        module: what to run as that process: it calls keep().
        title: what to call the server.
        arguments: the module's.

    Yields:
        The environment for the commands, in which their driver finds the server.

    Raises:
        KitError: the server can't be started.
    """
    say(f"Starting {title}.")
    with subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        # Not in a directory of ours: the server may be another user's.
        env={k: v for k, v in os.environ.items() if k != "TMPDIR"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl+C is for the run; the keeper ends after it.
        start_new_session=True,
    ) as keeper:
        assert keeper.stdin and keeper.stdout and keeper.stderr
        try:
            line = keeper.stdout.readline()
            if not line:
                raise KitError(f"{title} can't be started:\n{keeper.stderr.read()}")
            yield dict(os.environ) | json.loads(line)
        finally:
            keeper.stdin.close()
            keeper.wait()


def keep(run: Callable[[Path], AbstractContextManager[Variables]]) -> None:
    """Run a server until standard input ends: the other side of kept().

    Args:
        run: starts and stops it; called with the directory to do it in.
    """
    # The data belongs in the system's temporary directory whatever TMPDIR says:
    # a socket's path has room for about 100 characters.
    directory = Path(tempfile.mkdtemp(prefix="ticket31997-", dir="/tmp"))
    try:
        with run(directory) as env:
            print(json.dumps(env), flush=True)
            sys.stdin.read()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def not_root(directory: Path, preferred: str) -> str | None:
    """Choose a user for a server that refuses to be root's.

    Args:
        directory: what to give to that user.
        preferred: who it is where there is a user of that name.

    Returns:
        The user's name, or None where this process isn't root's.
    """
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = preferred if preferred in names else "nobody"
    shutil.chown(directory, user)
    return user
