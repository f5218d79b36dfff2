"""Django's own runtests.py, in either tree."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from patchkit import postgresql, relative, say, series
from patchkit.checkout import Fork

PACKAGE = "tests_ticket31997"
DATABASES = ("sqlite", "postgresql")
SCOPES = ("context", "thread")
# So that nothing waits for ever for what a test that failed has left locked.
LOCK_TIMEOUT = "-c lock_timeout=60s"


def environment(
    fork: Fork, tree: str, scope: str, env: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment that Django's code is run in.

    Args:
        fork: the repository.
        tree: "base" or "django".
        scope: the DATABASE_CONNECTION_SCOPE for the settings modules.
        env: the variables to begin with.

    Returns:
        The variables; the tree is on Python's path, so it needn't be installed.
    """
    result = {k: v for k, v in env.items() if k != "DJANGO_ALLOW_ASYNC_UNSAFE"}
    result.setdefault("PGOPTIONS", LOCK_TIMEOUT)
    return result | {
        "PYTHONPATH": str(fork.tree(tree)),
        "DATABASE_CONNECTION_SCOPE": scope,
    }


def default_labels(fork: Fork) -> list[str]:
    """Return the labels of what the series touches, and of our own package.

    Args:
        fork: the repository.

    Returns:
        The labels for runtests.py.
    """
    return [*series.labels(fork.patches()), PACKAGE]


def run(
    fork: Fork,
    *,
    tree: str,
    database: str,
    scopes: Sequence[str],
    arguments: Sequence[str] = (),
) -> bool:
    """Run Django's tests.

    Args:
        fork: the repository, with a checkout.
        tree: "base" or "django".
        database: "sqlite" or "postgresql".
        scopes: the values of DATABASE_CONNECTION_SCOPE, one run each.
        arguments: labels and options for runtests.py; the defaults are used
            where no label is among them.

    Returns:
        Whether every run passed.
    """
    arguments = list(arguments)
    if not any(re.match(r"[^-]", argument) for argument in arguments):
        arguments += default_labels(fork)
    tests = fork.tree(tree) / "tests"
    server = (
        postgresql.server() if database == "postgresql" else nullcontext(os.environ)
    )
    passed = True
    with server as env:
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
            result = subprocess.run(
                command, cwd=tests, env=environment(fork, tree, scope, env)
            )
            passed = passed and not result.returncode
    return passed
