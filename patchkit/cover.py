"""Do the series' own tests execute every line and branch that it adds?"""

import os
import sys
import tempfile
from pathlib import Path

from patchkit import processes, say, series, suite
from patchkit.fork import BASE_BRANCH, Fork


def check(fork: Fork) -> bool:
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
        base = f"--compare-branch={BASE_BRANCH}"
        whole = ("--branch-coverage", "--fail-under=100", "--include=django/**")
        commands = (
            (*tests, *source, "runtests.py", "--parallel=1", *modules),
            (*tests, "xml", "--quiet", f"-o{report}"),
            (fork.django, "diff-cover", report, base, *whole),
        )
        return all(
            not processes.run(command, cwd=cwd, env=env).returncode
            for cwd, *command in commands
        )
