"""Django's own linters on the files that the series changes."""

import subprocess
import sys

from patchkit import relative, say
from patchkit.fork import BASE_BRANCH, BRANCH, Fork
from patchkit.git import git

# flake8's settings are in Django's repository, not in its sdist.
FLAKE8 = ("--max-line-length=88", "--max-doc-length=79", "--extend-ignore=E203")
LINTERS = (
    ("black", "--quiet", "--check", "--diff"),
    ("isort", "--check-only", "--diff"),
    ("flake8", *FLAKE8),
)


def lint(fork: Fork) -> bool:
    """Run black, isort and flake8 with Django's configuration.

    Args:
        fork: the repository, with a checkout.

    Returns:
        Whether there is nothing to mend.
    """
    series = f"{BASE_BRANCH}..{BRANCH}"
    changed = ("diff", "--name-only", "--diff-filter=d", series, "--", "*.py")
    files = git(fork.django, *changed).splitlines()
    if not files:
        return True
    say(f"{len(files)} Python files of {relative(fork.django, fork.root)}:")
    clean = True
    for linter, *options in LINTERS:
        command = [sys.executable, "-m", linter, *options, *files]
        passed = not subprocess.run(command, cwd=fork.django).returncode
        say(f"  {linter}: {'clean' if passed else 'see above'}")
        clean = clean and passed
    # Trailing space and the like, in the docs too.
    git(fork.django, "diff", "--check", series)
    return clean
