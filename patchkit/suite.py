"""Django's own runtests.py, in either tree."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise

from patchkit import KitError, processes, relative, say, series
from patchkit.databases import server
from patchkit.fork import Fork

PACKAGE = "tests_ticket31997"
SCOPES = ("context", "thread")
# So that nothing waits for ever for what a test that failed has left locked.
LOCK_TIMEOUT = "-c lock_timeout=60s"
# The options of runtests.py that take the word behind them.
WITH_VALUE = {
    *("-k", "-v", "--bisect", "--durations", "--exclude-tag", "--external-host"),
    *("--pair", "--selenium", "--selenium-hub", "--settings", "--start-after"),
    *("--start-at", "--tag", "--verbosity"),
}


def environment(
    fork: Fork, tree: str, scope: str, env: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment that Django's code is run in.

    Args:
        tree: "base" or "django"; "" for a Django that is installed.
        scope: the DATABASE_CONNECTION_SCOPE for the settings modules.
        env: the variables to begin with.

    Returns:
        The variables; the tree is on Python's path, so it needn't be installed.
    """
    result = {k: v for k, v in env.items() if k != "DJANGO_ALLOW_ASYNC_UNSAFE"}
    result.setdefault("PGOPTIONS", LOCK_TIMEOUT)
    return result | {
        "PYTHONPATH": str(fork.tree(tree)) if tree else "",
        "DATABASE_CONNECTION_SCOPE": scope,
    }


def has_label(arguments: Sequence[str]) -> bool:
    """Tell whether there is a label among words for runtests.py.

    Args:
        arguments: its options, their values, and labels.

    Returns:
        Whether one of them is neither an option nor the value of one.
    """
    # --parallel and --shuffle take a number, or "auto", where there is one.
    return any(
        before not in WITH_VALUE and not re.match(r"-|\d+$|auto$", word)
        for before, word in pairwise(["", *arguments])
    )


def run(
    fork: Fork,
    *,
    tree: str = "django",
    database: str = "sqlite",
    scopes: Sequence[str] = SCOPES,
    arguments: Sequence[str] = (),
) -> bool:
    """Run Django's tests.

    Args:
        fork: the repository, with a checkout.
        tree: "base" or "django".
        database: one of DATABASES.
        scopes: the values of DATABASE_CONNECTION_SCOPE, one run each.
        arguments: labels and options for runtests.py; where no label is among
            them, those of what the series touches and of our own package are used.

    Returns:
        Whether every run passed.

    Raises:
        NoServer: the database needs a server, and there is none.
        KitError: the server can't be started, or a package that the tests need
            isn't installed.
    """
    for package in ("asgiref", "sqlparse", "tblib"):
        if not find_spec(package):
            raise KitError(
                f"{package}, which Django's tests need, isn't installed in this "
                "environment: pip install -r requirements/suite.txt, or use tox."
            )
    if not has_label(arguments):
        # In front: --parallel at the end would take the first one for its number.
        arguments = [*series.labels(fork.patches()), PACKAGE, *arguments]
    tests = fork.tree(tree) / "tests"
    passed = True
    with server(database) as env:
        for scope in scopes:
            command = [
                *(sys.executable, "-Wall", "runtests.py", "--noinput"),
                f"--settings={PACKAGE}.settings.{database}",
                *arguments,
            ]
            say(
                f"== {relative(tests, fork.root)}: {database}, "
                f'DATABASE_CONNECTION_SCOPE = "{scope}"\n$ {" ".join(command[1:])}'
            )
            variables = environment(fork, tree, scope, env)
            # In the order of what is written, also where it isn't a terminal's.
            how = {"cwd": tests, "env": variables, "stderr": subprocess.STDOUT}
            passed &= not processes.run(command, **how).returncode
    return passed
