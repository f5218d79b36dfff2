"""git, the same on every machine: without the user's configuration."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from patchkit import KitError, processes

# The author that every patch carries and, so that the ids of commits don't
# depend on who makes the checkout, the committer as well.
ROLE = "ticket-31997"
ROLE_EMAIL = "ticket-31997@example.com"

# Configuration and attributes of the user or of the machine can change what
# ends up in a commit (line endings, signatures, ignored files) or in a patch.
_CONFIG = (
    "core.autocrlf=false",
    f"core.attributesFile={os.devnull}",
    f"core.excludesFile={os.devnull}",
    f"core.hooksPath={os.devnull}",
    "init.defaultBranch=upstream",
    "gc.auto=0",
    f"user.name={ROLE}",
    f"user.email={ROLE_EMAIL}",
)
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "TZ": "UTC",
}


class GitError(KitError):
    """A git command failed.

    Attributes:
        stderr: what git wrote to its standard error.
    """

    def __init__(self, arguments: Sequence[str], stderr: str) -> None:
        super().__init__(f"git {' '.join(arguments)} failed:\n{stderr.strip()}")
        self.stderr = stderr


def git(cwd: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Run a git command that does the same everywhere.

    Args:
        cwd: the directory to run it in.
        arguments: the command's words, without "git".
        env: variables on top of those that it has always.

    Returns:
        What it wrote to standard output, without the last newlines.

    Raises:
        GitError: the command exited with a status other than 0.
        KitError: there is no git.
    """
    return run(cwd, arguments, _CONFIG, _ENVIRONMENT | (env or {}))


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


def run(
    cwd: Path, arguments: Sequence[str], config: Iterable[str], env: dict[str, str]
) -> str:
    """Run a git command as git() does, with the caller's configuration.

    Args:
        cwd: the directory to run it in.
        arguments: the command's words, without "git".
        config: as git's option -c takes it, such as "gc.auto=0".
        env: variables on top of the process's, of which git's own are left out: a
            hook sets GIT_DIR, for one.
    """
    if not shutil.which("git"):
        raise KitError("git isn't on the path: install it (apt install git).")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    inherited |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    options = [word for setting in config for word in ("-c", setting)]
    command = ("git", *options, *arguments)
    result = processes.capture(command, cwd=cwd, env=inherited | env)
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
        conflicts = [
            f"{name}:{number}"
            for name in git(tree, "diff", "--name-only", "--diff-filter=U").splitlines()
            for number, line in enumerate((tree / name).read_text().splitlines(), 1)
            if line.startswith("<<<<<<<")
        ]
        said = re.findall(r"^(?:error|fatal): (.*)", e.stderr, re.MULTILINE)
        hunks = "".join(f"  {line}\n" for line in conflicts or said or [e.stderr])
        raise KitError(
            f"{patch} does not apply to {what} (file:line of each hunk that fails):\n"
            f"{hunks}{advice}"
        ) from e
