"""Django's own linters on the files that a series changes."""

import sys
from pathlib import Path

from patchkit import processes, say
from patchkit.fork import BASE_BRANCH
from patchkit.git import git

# flake8's settings are in Django's repository, not in its sdist.
FLAKE8 = ("--max-line-length=88", "--max-doc-length=79", "--extend-ignore=E203")
LINTERS = (
    ("black", "--quiet", "--check", "--diff"),
    ("isort", "--check-only", "--diff"),
    ("flake8", *FLAKE8),
)


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
    series = f"{base}..HEAD"
    changed = ("diff", "--name-only", "--diff-filter=d", series, "--", "*.py")
    files = git(tree, *changed).splitlines()
    say(f"{len(files)} Python files:")
    clean = True
    for linter, *options in LINTERS if files else ():
        command = [sys.executable, "-m", linter, *options, *files]
        passed = not processes.run(command, cwd=tree).returncode
        say(f"  {linter}: {'clean' if passed else 'see above'}")
        clean = clean and passed
    git(tree, "diff", "--check", series)
    return clean
