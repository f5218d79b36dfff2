"""What each commit of the series, and all that it adds, has to pass by itself."""

import os
import sys
import tempfile
from pathlib import Path

from patchkit import checkout, processes, say, series, suite
from patchkit.fork import BASE_BRANCH, Fork
from patchkit.git import git

LINTERS = (
    ("black", "--quiet", "--check", "--diff"),
    ("isort", "--check-only", "--diff"),
    # Its settings are in Django's repository, not in its sdist.
    ("flake8", "--max-line-length=88", "--max-doc-length=79", "--extend-ignore=E203"),
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


def prefixes(fork: Fork, upstream: str | None = None) -> bool:
    """Run the tests that each prefix of the series touches, on SQLite.

    A prefix is what a reviewer of one commit checks out. The whole series is left
    out, also without a last patch that has no code: it is what the other checks are
    about.

    Args:
        upstream: PATH[@REV] of a clone of Django to use instead of the sdist.

    Returns:
        Whether all passed.
    """
    patches = fork.patches()
    passed = True
    code = [n for n, patch in enumerate(patches) if series.modules([patch])]
    for count in range(1, code[-1] + 1 if code else 0):
        say(f"== The first {count} of {len(patches)} patches")
        with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
            prefix = fork.copy(Path(name), patches[:count])
            checkout.make(prefix, upstream)
            passed &= suite.run(prefix, arguments=series.labels(patches[:count]))
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
        env = suite.environment(fork, "django", "context", os.environ)
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
