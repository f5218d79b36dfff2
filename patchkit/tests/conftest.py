"""A small stand-in for Django, and a repository of the project around it."""

import hashlib
import io
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from patchkit import ROOT, checkout
from patchkit.fork import BRANCH, Fork
from patchkit.git import git
from tests_ticket31997.patience import ending

# A shell has what it starts in the background ignore it, and that what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "django"
version = "6.1.3"

[tool.setuptools]
packages = ["django"]
""",
    "django/__init__.py": "",
    "django/module.py": "".join(f"line {number}\n" for number in range(40)),
    "docs/releases/6.1.txt": "6.1\n",
    "tests/runtests.py": "",
    "tests/polls/tests.py": "",
}
BASE_TOML = """\
[base]
version = "6.1.3"
sha256 = "{sha256}"

[next]
version = "6.2"
minor_features = ["Cache", "Models"]
backwards_incompatible = ["Miscellaneous"]
deprecated = ["Miscellaneous"]
"""


def sdist(path: Path, files: dict[str, str], version: str = "6.1.3") -> str:
    """Write an sdist.

    Args:
        path: the file to write.
        files: the contents by name.
        version: what the directory in it is called by.

    Returns:
        The file's SHA-256 in hexadecimal.
    """
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"django-{version}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def commit(tree: Path, message: str, files: dict[str, str]) -> str:
    """Commit files in a checkout.

    Args:
        tree: the checkout.
        message: the commit's.
        files: contents by path.

    Returns:
        The commit's id.
    """
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", message)
    return git(tree, "rev-parse", "HEAD")


def commit_base(fork: Fork, files: dict[str, str]) -> None:
    """Commit files to the base of a checkout that has no series yet.

    Args:
        files: contents by path.
    """
    commit(fork.django, "Base.", files)
    git(fork.base, "reset", "--quiet", "--hard", BRANCH)


@pytest.fixture
def fork(tmp_path: Path) -> Fork:
    """A repository whose base is in the cache, without a series."""
    fork = Fork(tmp_path / "repository")
    cache = fork.fork / ".cache"
    cache.mkdir(parents=True)
    fork.patches_dir.mkdir()
    (fork.root / "tests_ticket31997").mkdir()
    sha256 = sdist(cache / "django-6.1.3.tar.gz", FILES)
    fork.pin.write_text(BASE_TOML.format(sha256=sha256))
    return fork


@pytest.fixture
def series(fork: Fork) -> Fork:
    """The same with a series of two patches, made and exported."""
    from patchkit.series import export

    checkout.make(fork)
    lines = FILES["django/module.py"].replace("line 5\n", "line five\n")
    commit(fork.django, "Changed a line.", {"django/module.py": lines})
    lines = lines.replace("line 35\n", "line thirty-five\n")
    commit(
        fork.django,
        "Changed another.\n\nBecause.",
        {"django/module.py": lines, "tests/polls/tests.py": "assert True\n"},
    )
    export(fork)
    return fork


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of "Django" as a user has one, with a branch and a tag."""
    tree = tmp_path / "clone"
    tree.mkdir()
    git(tree, "init", "--quiet")
    commit(tree, "First.", FILES)
    commit(tree, "Notes.", {"docs/releases/6.2.txt": "Real notes\n"})
    git(tree, "branch", "stable")
    return tree


def snapshot(directory: Path) -> dict[str, bytes]:
    """Return the contents of all files below a directory, git's included.

    Args:
        directory: where to look.

    Returns:
        The contents by relative path.
    """
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@contextmanager
def run_python(
    code: str, *arguments: object, session: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run Python on some code, with its input and output on pipes.

    Args:
        code: the program.
        arguments: its sys.argv[1:].
        session: let it lead a group of processes, which signals can be sent to.

    Yields:
        The process, which is waited for at the end of the block.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=session,
    )
    with ending(process):
        yield process
