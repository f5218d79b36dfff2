"""Does each hunk of the series matter? Revert it, and some test has to fail."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unidiff import Hunk, PatchedFile, PatchSet

from patchkit import KitError, say, series, suite
from patchkit.checkout import BASE_BRANCH, BRANCH, Fork
from patchkit.git import environment, git

# A test that waits for what doesn't happen any more fails too. In seconds.
TIMEOUT = 60


def _revert(tree: Path, file: PatchedFile, hunk: Hunk) -> None:
    text = f"--- a/{file.path}\n+++ b/{file.path}\n{hunk}"
    result = subprocess.run(
        ["git", "apply", "--reverse", "-"],
        cwd=tree,
        input=text,
        env=environment() | {"GIT_CEILING_DIRECTORIES": str(tree.parent)},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise KitError(f"A hunk of {file.path} can't be reverted:\n{result.stderr}")


def _code(file: Path) -> str:
    """Return what a Python file does: its syntax without comments and docstrings."""
    module = ast.parse(file.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(module):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(module)


def _failure(copy: Fork, labels: list[str]) -> str:
    """Run the series' own tests in a copy; return the first that fails, or ""."""
    try:
        result = subprocess.run(
            [
                *(sys.executable, "runtests.py", "--settings=test_sqlite"),
                *("--parallel=1", "--failfast", *labels),
            ],
            cwd=copy.django / "tests",
            env=suite.environment(copy, "django", "context", os.environ),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return "a test hangs"
    if not result.returncode:
        return ""
    first = re.search(r"^(?:ERROR|FAIL): (\w+)", result.stderr, re.MULTILINE)
    return first[1] if first else result.stderr.strip().splitlines()[-1]


@contextmanager
def _copy(fork: Fork) -> Iterator[Fork]:
    """Provide a copy of the patched tree in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        copy = Fork(Path(name))
        ignore = shutil.ignore_patterns(".git", "docs", suite.PACKAGE)
        shutil.copytree(fork.django, copy.django, ignore=ignore, symlinks=True)
        yield copy


def check(fork: Fork) -> bool:
    """Revert each hunk in Django's code by itself and run the series' tests.

    Args:
        fork: the repository, with a checkout.

    Returns:
        Whether the tests fail without each of the hunks that do more than change
        comments and docstrings.

    Raises:
        KitError: the tests fail with all of them.
    """
    labels = series.labels(fork.patches())
    with _copy(fork) as copy:
        if failure := _failure(copy, labels):
            raise KitError(f"The tests of the whole series fail: {failure}.")
    diff = git(fork.django, "diff", f"{BASE_BRANCH}..{BRANCH}", "--", "django") + "\n"
    hunks = [(file, hunk) for file in PatchSet(diff) for hunk in file]
    needed = True
    for number, (file, hunk) in enumerate(hunks, 1):
        with _copy(fork) as copy:
            _revert(copy.django, file, hunk)
            path = Path(file.path)
            if _code(copy.django / path) == _code(fork.django / path):
                failure = "words only"
            else:
                failure = _failure(copy, labels)
        needed = needed and bool(failure)
        lines = f"{hunk.target_start}-{hunk.target_start + hunk.target_length - 1}"
        say(
            f"{number}/{len(hunks)} {file.path}:{lines} (+{hunk.added}): "
            f"{failure or 'NO TEST FAILS'}"
        )
    return needed
