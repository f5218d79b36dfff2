"""What the database servers of a run have in common."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from filelock import FileLock

from patchkit import ROOT, KitError, say

type Variables = dict[str, str]


class NoServer(KitError):
    """There is no server, and none that could be started."""


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
            if not (line := keeper.stdout.readline()):
                raise KitError(f"{title} can't be started:\n{keeper.stderr.read()}")
            yield dict(os.environ) | json.loads(line)
        finally:
            keeper.stdin.close()
            keeper.wait()


def keep(run: Callable[..., AbstractContextManager[Variables]]) -> None:
    """Run a server until standard input ends: the other side of kept().

    Args:
        run: starts and stops it; called with the directory to do it in, and with
            the arguments that kept() was given.
    """
    # The data belongs in the system's temporary directory whatever TMPDIR says:
    # a socket's path has room for about 100 characters.
    place = tempfile.TemporaryDirectory(
        prefix="ticket31997-", dir="/tmp", ignore_cleanup_errors=True
    )
    with place as name, run(Path(name), *sys.argv[1:]) as env:
        print(json.dumps(env), flush=True)
        sys.stdin.read()


def which(program: str, beside: Iterable[object]) -> str | None:
    """Find a program.

    Args:
        program: its name.
        beside: the directories to look into after those of the path.

    Returns:
        Its path; None if it isn't there.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, beside)])
    return shutil.which(program, path=path)


def options(directory: Path, user: str) -> dict[str, Any]:
    """Return how to run a server and what makes its data.

    Args:
        directory: where to; it's given to the user.
        user: whose they are in the place of root, where there is a user of that
            name: servers refuse to be root's.

    Returns:
        Options of subprocess.Popen().
    """
    how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": sys.stderr}
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        how["user"] = user if user in names else "nobody"
        shutil.chown(directory, how["user"])
    return how | {"cwd": directory}


def execute(
    driver: ModuleType, title: str, where: Mapping[str, Any], statements: Iterable[str]
) -> None:
    """Execute statements on a server, each in a transaction of its own.

    Args:
        driver: the module that connects to it.
        title: what to call the server.
        where: the driver's options that say where it is.
        statements: the SQL.

    Raises:
        KitError: the server can't be reached.
    """
    try:
        connection = driver.connect(**where, autocommit=True)
    except driver.OperationalError as e:
        raise KitError(f"{title} can't be reached: {e}") from e
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
