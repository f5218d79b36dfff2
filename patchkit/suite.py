"""Django's own tests and linters, in either tree, and on what the series changes."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from patchkit import KitError, processes, relative, say, series
from patchkit.databases import server
from patchkit.fork import BASE_BRANCH, BRANCH, Fork
from patchkit.git import extract, git

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
LINTERS = (
    ("black", "--quiet", "--check", "--diff"),
    ("isort", "--check-only", "--diff"),
    # Its settings are in Django's repository, not in its sdist.
    ("flake8", "--max-line-length=88", "--max-doc-length=79", "--extend-ignore=E203"),
)


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
    result = {"PGOPTIONS": LOCK_TIMEOUT, **env, "DATABASE_CONNECTION_SCOPE": scope}
    result["PYTHONPATH"] = str(fork.tree(tree)) if tree else ""
    result.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)
    return result


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
    settings = f"--settings={PACKAGE}.settings.{database}"
    words = ("-Wall", "runtests.py", "--noinput", settings, *arguments)
    tests = fork.tree(tree) / "tests"
    passed = True
    with server(database) as env:
        for scope in scopes:
            say(
                f"== {relative(tests, fork.root)}: {database}, "
                f'DATABASE_CONNECTION_SCOPE = "{scope}"\n$ {" ".join(words)}'
            )
            variables = environment(fork, tree, scope, env)
            # In the order of what is written, also where it isn't a terminal's.
            how = {"cwd": tests, "env": variables, "stderr": subprocess.STDOUT}
            passed &= not processes.run([sys.executable, *words], **how).returncode
    return passed


def prefixes(fork: Fork) -> bool:
    """Run the tests that each prefix of the series touches, on SQLite.

    A prefix is what a reviewer of one commit checks out. The whole series is left
    out, also without a last patch that has no code: it is what the other checks are
    about.

    Args:
        fork: the repository, with a checkout.

    Returns:
        Whether all passed.
    """
    patches = fork.patches()
    passed = True
    code = [n for n, patch in enumerate(patches) if series.modules([patch])]
    commits = git(fork.django, "rev-list", "--reverse", f"{BASE_BRANCH}..{BRANCH}")
    for number, commit in enumerate(commits.split()[: code[-1] if code else 0], 1):
        say(f"== The first {number} of {len(patches)} patches")
        with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
            prefix = Fork(Path(name))
            prefix.django.mkdir(parents=True)
            extract(fork.django, commit, prefix.django)
            (prefix.django / "tests" / PACKAGE).symlink_to(fork.package)
            passed &= run(prefix, arguments=series.labels(patches[:number]))
    return passed


def cover(fork: Fork) -> bool:
    """Run the test modules that the series touches and look at the added lines.

    Args:
        fork: the repository, with a checkout.

    Returns:
        Whether each added line in Django's code was executed, and left in each
        direction that it can be left in.
    """
    modules = series.modules(fork.patches())
    say(f"Running {' '.join(modules)} on SQLite.")
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        report = Path(name) / "coverage.xml"
        env = environment(fork, "django", "context", os.environ)
        env |= {"COVERAGE_FILE": str(Path(name) / "data")}
        tests = (fork.django / "tests", sys.executable, "-m", "coverage")
        source = ("run", "--branch", f"--source={fork.django / 'django'}")
        diff = (fork.django, "diff-cover", report, f"--compare-branch={BASE_BRANCH}")
        whole = ("--branch-coverage", "--fail-under=100", "--include=django/**")
        for cwd, *command in (
            (*tests, *source, "runtests.py", "--parallel=1", *modules),
            (*tests, "xml", "--quiet", f"-o{report}"),
            (*diff, *whole),
        ):
            if processes.run(command, cwd=cwd, env=env).returncode:
                return False
    return True


def lint(tree: Path, base: str = BASE_BRANCH) -> bool:
    """Run black, isort and flake8 with Django's configuration.

    Args:
        tree: a git tree of Django.
        base: the commit that the series begins at.

    Returns:
        Whether there is nothing to mend.

    Raises:
        GitError: there is space at the end of a line or the like, in the docs too.
    """
    commits = f"{base}..HEAD"
    changed = ("diff", "--name-only", "--diff-filter=d", commits, "--", "*.py")
    files = git(tree, *changed).splitlines()
    say(f"{len(files)} Python files:")
    clean = True
    for linter, *options in LINTERS if files else ():
        command = [sys.executable, "-m", linter, *options, *files]
        passed = not processes.run(command, cwd=tree).returncode
        say(f"  {linter}: {'clean' if passed else 'see above'}")
        clean = clean and passed
    git(tree, "diff", "--check", commits)
    return clean
