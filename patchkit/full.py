"""Django's whole suite: no failure in the patched tree that the base lacks."""

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.table import Table

from patchkit import KitError, installed, postgresql, relative, say, suite
from patchkit.fork import BASE_BRANCH, BRANCH, Fork
from patchkit.git import extract, git
from patchkit.processes import ending
from patchkit.tables import WIDTH

# How often a run's progress is told, in seconds.
TELL = 30
# A mark for each test that ended, as unittest prints them.
MARKS = re.compile(r"^[.sxuEF]+$", re.MULTILINE)
# Of an object, in the parameters of a subtest: another one each time.
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
FAILURE = re.compile(r"^(?:ERROR|FAIL|UNEXPECTED SUCCESS): .+$", re.MULTILINE)
# Of settings, in which the databases and the scope are set.
MODULES = ("full_sqlite", "full_postgresql", "postgresql")


@dataclass(frozen=True)
class Run:
    """One run of the whole suite.

    Attributes:
        database: "sqlite" or "postgresql".
        tree: "base" or "django".
        scope: the DATABASE_CONNECTION_SCOPE, which the base ignores.
    """

    database: str
    tree: str
    scope: str

    @property
    def title(self) -> str:
        """What the output calls it."""
        which = "base" if self.tree == "base" else f'patched, "{self.scope}"'
        return f"{self.database}, {which}"


TREES = (("base", "context"), ("django", "context"), ("django", "thread"))


@dataclass(frozen=True)
class Result:
    """What a run said.

    Attributes:
        tests: how many tests it ran.
        skipped: how many of them it skipped.
        failures: unittest's headings of those that failed, sorted.
    """

    tests: int
    skipped: int
    failures: tuple[str, ...]

    @classmethod
    def parse(cls, output: str) -> Self | None:
        """Read what runtests.py printed.

        Args:
            output: all of it.

        Returns:
            The result, or None if it broke off.
        """
        end = re.search(
            r"^Ran (\d+) tests? in .+\n\n(?:OK|FAILED)(.*)$", output, re.MULTILINE
        )
        if not end:
            return None
        skipped = re.search(r"skipped=(\d+)", end[2])
        return cls(
            int(end[1]),
            int(skipped[1]) if skipped else 0,
            tuple(sorted(set(FAILURE.findall(ADDRESS.sub("", output))))),
        )


def _key(fork: Fork, run: Run, server: str) -> str:
    """Return a digest of all that a run's result depends on."""
    branch = BASE_BRANCH if run.tree == "base" else BRANCH
    # Not the whole tree: its docs don't count.
    code = git(fork.django, "rev-parse", f"{branch}:django", f"{branch}:tests")
    directory = fork.root / suite.PACKAGE / "settings"
    settings = [directory / f"{name}.py" for name in ("__init__", *MODULES)]
    words = [code, run.scope, server, *installed()]
    words += [file.read_text(encoding="utf-8") for file in settings if file.exists()]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]


@contextmanager
def _copy(fork: Fork, tree: str) -> Iterator[Path]:
    """Provide the committed code of a tree, which may be worked on meanwhile."""
    branch = BASE_BRANCH if tree == "base" else BRANCH
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        extract(fork.django, branch, Path(name))
        yield Path(name)


def _execute(fork: Fork, run: Run, env: Mapping[str, str], log: Path) -> Result:
    """Run the suite in a copy of the tree, telling how far it is."""
    say(f"== {run.title}: the output is in {relative(log, fork.root)}")
    processes = multiprocessing.cpu_count()
    with _copy(fork, run.tree) as copy, log.open("wb") as file:
        variables = suite.environment(fork, run.tree, run.scope, env)
        command = [
            *(sys.executable, "runtests.py", "--noinput"),
            f"--settings={suite.PACKAGE}.settings.full_{run.database}",
            f"--parallel={processes}",
        ]
        with (
            subprocess.Popen(
                command,
                cwd=copy / "tests",
                env=variables | {"PYTHONPATH": f"{copy}{os.pathsep}{fork.root}"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
            ending(process),
        ):
            while True:
                try:
                    process.wait(TELL)
                    break
                except subprocess.TimeoutExpired:
                    say(f"   {run.title}: {_progress(log)}")
    result = Result.parse(log.read_text(errors="replace"))
    if result is None:
        end = "".join(log.read_text(errors="replace").splitlines(True)[-20:])
        raise KitError(f"{run.title}: the suite broke off.\n{end}")
    return result


def _progress(log: Path) -> str:
    output = log.read_text(errors="replace")
    found = re.search(r"^Found (\d+) test", output, re.MULTILINE)
    done = sum(map(len, MARKS.findall(output)))
    return f"{done:,} of {int(found[1]):,} tests" if found else "setting up"


def table(results: Mapping[Run, Result]) -> Table:
    """Lay the results out.

    Args:
        results: those of each run, the base of each database among them.

    Returns:
        A table of rich's.
    """
    grid = Table(box=None)
    grid.add_column("run")
    for heading in ("tests", "skipped", "failures", "that the base lacks"):
        grid.add_column(heading, justify="right")
    for run, result in results.items():
        news = new_failures(results, run)
        grid.add_row(
            run.title,
            f"{result.tests:,}",
            f"{result.skipped:,}",
            str(len(result.failures)),
            "" if run.tree == "base" else str(len(news)),
            style="red" if news else None,
        )
    return grid


def new_failures(results: Mapping[Run, Result], run: Run) -> list[str]:
    """Tell which of a run's failures the base lacks.

    Args:
        results: those of each run, the base of each database among them.
        run: the run in question.

    Returns:
        unittest's headings.
    """
    base = set(results[Run(run.database, *TREES[0])].failures)
    return [line for line in results[run].failures if line not in base]


def check(fork: Fork, *, again: bool = False) -> bool:
    """Run Django's whole suite in both trees and compare.

    A run's result is kept for as long as nothing that it depends on changes, so
    that a command which was interrupted goes on where it was.

    Args:
        fork: the repository, with a checkout.
        again: forget the results that are kept.

    Returns:
        Whether the patched tree has no failure that the base lacks, on either
        database, in either scope.

    Raises:
        KitError: PostgreSQL isn't to be had, or the suite broke off.
    """
    directory = fork.fork / ".full"
    if again:
        shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(exist_ok=True)
    own = postgresql.location()
    programs = None if own else postgresql.installation()
    results: dict[Run, Result] = {}
    for database in ("sqlite", "postgresql"):
        runs = [Run(database, *tree) for tree in TREES]
        place = json.dumps(own) if own else str(programs)
        kept = {
            run: directory / f"{run.database}-{run.tree}-{run.scope}-{key}.json"
            for run in runs
            for key in [_key(fork, run, place if database == "postgresql" else "")]
        }
        todo = [run for run in runs if not kept[run].exists()]
        with (
            postgresql.server(programs)
            if todo and database == "postgresql"
            else nullcontext(os.environ)
        ) as env:
            for run in todo:
                log = kept[run].with_suffix(".log")
                result = _execute(fork, run, env, log)
                kept[run].write_text(json.dumps(asdict(result)) + "\n")
        for run in runs:
            values = json.loads(kept[run].read_text())
            results[run] = Result(**values | {"failures": tuple(values["failures"])})
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table(results))
    passed = True
    for run in results:
        for line in new_failures(results, run):
            passed = False
            say(f"{run.title}: {line}")
    return passed
