"""git, the same on every machine: without the user's configuration."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from patchkit import KitError

# The author that every patch carries and, so that the ids of commits don't
# depend on who makes the checkout, the committer as well.
ROLE = "ticket-31997"
ROLE_EMAIL = "ticket-31997@example.com"

# Configuration and attributes of the user or of the machine can change what
# ends up in a commit (line endings, signatures, ignored files) or in a patch.
_CONFIG = {
    "core.autocrlf": "false",
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.hooksPath": os.devnull,
    "init.defaultBranch": "upstream",
    "advice.detachedHead": "false",
    "gc.auto": "0",
}


class GitError(KitError):
    """A git command failed.

    Attributes:
        stderr: what git wrote to its standard error.
    """

    def __init__(self, arguments: Sequence[str], stderr: str) -> None:
        super().__init__(f"git {' '.join(arguments)} failed:\n{stderr.strip()}")
        self.stderr = stderr


def environment() -> dict[str, str]:
    """Return the environment in which git behaves alike everywhere.

    Returns:
        A copy of the process's environment without git's own variables (a
        hook sets GIT_DIR, for one) and without any configuration but ours.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env |= {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": str(len(_CONFIG)),
        "GIT_AUTHOR_NAME": ROLE,
        "GIT_AUTHOR_EMAIL": ROLE_EMAIL,
        "GIT_COMMITTER_NAME": ROLE,
        "GIT_COMMITTER_EMAIL": ROLE_EMAIL,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    for number, (key, value) in enumerate(_CONFIG.items()):
        env[f"GIT_CONFIG_KEY_{number}"] = key
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    return env


def git(cwd: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run a git command.

    Args:
        cwd: the directory to run it in.
        arguments: the command's words, without "git".
        env: variables on top of environment().

    Returns:
        What it wrote to standard output, without the last newline.

    Raises:
        GitError: the command exited with a status other than 0.
    """
    return run(cwd, arguments, environment() | dict(env or {}))


def extract(tree: Path, revision: str, directory: Path, *paths: str) -> None:
    """Put the files of a commit into a directory.

    Args:
        tree: the git tree that has the commit.
        revision: the commit.
        directory: where to put them; it has to be there.
        paths: which ones; all of them by default.

    Raises:
        GitError: there is no such commit, or path in it.
    """
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        archive = Path(name) / "files.tar"
        git(tree, "archive", f"--output={archive}", revision, *paths)
        subprocess.run(["tar", "-xf", archive], cwd=directory, check=True)


def run(cwd: Path, arguments: Sequence[str], env: Mapping[str, str]) -> str:
    """Run a git command in an environment of the caller's.

    Args:
        cwd: the directory to run it in.
        arguments: the command's words, without "git".
        env: all of the variables.

    Returns:
        What it wrote to standard output, without the last newlines.

    Raises:
        GitError: the command exited with a status other than 0.
        KitError: there is no git.
    """
    if not shutil.which("git"):
        raise KitError("git isn't on the path: install it (apt install git).")
    result = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
    )
    if result.returncode:
        raise GitError(arguments, result.stderr or result.stdout)
    return result.stdout.rstrip("\n")


@contextmanager
def applying(patch: str, tree: Path, what: str, advice: str) -> Iterator[None]:
    """Tell which hunks of a patch don't apply, if applying it in the block fails.

    Args:
        patch: its path.
        tree: the git tree.
        what: the tree's name, such as "Django 6.1.3".
        advice: what to do then.

    Raises:
        KitError: it doesn't apply; has a line for each place where git has left a
            conflict, or else for what git says.
    """
    try:
        yield
    except GitError as e:
        files = git(tree, "diff", "--name-only", "--diff-filter=U").splitlines()
        conflicts = [
            f"{name}:{number}"
            for name in files
            for number, line in enumerate((tree / name).read_text().splitlines(), 1)
            if line.startswith("<<<<<<<")
        ]
        said = re.findall(r"^(?:error|fatal): (.*)", e.stderr, re.MULTILINE)
        hunks = "".join(f"  {line}\n" for line in conflicts or said or [e.stderr])
        raise KitError(
            f"{patch} does not apply to {what} (file:line of each hunk that fails):\n"
            f"{hunks}{advice}"
        ) from e
