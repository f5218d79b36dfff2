"""Django's whole suite: no failure in the patched tree that the base lacks."""

import hashlib
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.table import Column, Table

from patchkit import KitError, installed, postgresql, relative, say, suite, tables
from patchkit.demo import BASE, CONTEXT, THREAD, Run
from patchkit.fork import Fork
from patchkit.git import extract, git
from patchkit.processes import ending

# How often a run's progress is told, in seconds.
TELL = 30
# A mark for each test that ended, as unittest prints them.
MARKS = re.compile(r"^[.sxuEF]+$", re.MULTILINE)
# Of an object, in the parameters of a subtest: another one each time.
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
FAILURE = re.compile(r"^(?:ERROR|FAIL|UNEXPECTED SUCCESS): .+$", re.MULTILINE)
HEADINGS = ("tests", "skipped", "failures", "that the base lacks")


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
        """Read what runtests.py printed; return None if it broke off."""
        pattern = r"^Ran (\d+) tests? in .+\n\n(?:OK|FAILED)(.*)$"
        end = re.search(pattern, output, re.MULTILINE)
        if not end:
            return None
        skipped = re.search(r"skipped=(\d+)", end[2])
        failures = sorted(set(FAILURE.findall(ADDRESS.sub("", output))))
        return cls(int(end[1]), int(skipped[1]) if skipped else 0, tuple(failures))


def _key(fork: Fork, run: Run, server: str) -> str:
    """Return a digest of all that a run's result depends on."""
    # Not the whole tree: its docs don't count.
    code = git(fork.tree(run.tree), "rev-parse", "HEAD:django", "HEAD:tests")
    settings = sorted((fork.package / "settings").glob("*.py"))
    texts = [file.read_text(encoding="utf-8") for file in settings]
    words = [code, run.scope, server, *installed(), *texts]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]


def _read(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""


def _execute(
    fork: Fork, run: Run, database: str, env: Mapping[str, str], log: Path
) -> Result:
    """Run the suite in a copy of the tree, telling how far it is."""
    title = f"{database}, {run.title}"
    say(f"== {title}: the output is in {relative(log, fork.root)}")
    with (
        tempfile.TemporaryDirectory(prefix="ticket31997-") as copy,
        log.open("wb") as file,
    ):
        # The committed code of the tree, which may be worked on meanwhile.
        extract(fork.tree(run.tree), "HEAD", Path(copy))
        path = {"PYTHONPATH": f"{copy}{os.pathsep}{fork.root}"}
        with (
            subprocess.Popen(
                [
                    *(sys.executable, "runtests.py", "--noinput"),
                    f"--settings={suite.PACKAGE}.settings.full_{database}",
                    f"--parallel={multiprocessing.cpu_count()}",
                ],
                cwd=Path(copy) / "tests",
                env=suite.environment(fork, run.tree, run.scope, env) | path,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
            ending(process),
        ):
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TELL)
                say(f"   {title}: {_progress(_read(log))}")
    result = Result.parse(_read(log))
    if result is None:
        end = "".join(_read(log).splitlines(True)[-20:])
        raise KitError(f"{title}: the suite broke off.\n{end}")
    return result


def _progress(output: str) -> str:
    found = re.search(r"^Found (\d+) test", output, re.MULTILINE)
    done = sum(map(len, MARKS.findall(output)))
    return f"{done:,} of {int(found[1]):,} tests" if found else "setting up"


def check(fork: Fork, *, again: bool = False) -> bool:
    """Run Django's whole suite in both trees and compare.

    A run's output is kept for as long as nothing that it depends on changes, so
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
    numbers = (Column(heading, justify="right") for heading in HEADINGS)
    grid = Table("run", *numbers, box=None)
    passed = True
    for database, server in (("sqlite", ""), ("postgresql", str(own or programs))):
        logs = {
            run: directory / f"{database}-{run.tree}-{run.scope}-{key}.log"
            for run in (BASE, CONTEXT, THREAD)
            for key in [_key(fork, run, server)]
        }
        results = {run: Result.parse(_read(log)) for run, log in logs.items()}
        needed = server and None in results.values()
        with postgresql.server(programs) if needed else nullcontext(os.environ) as env:
            whole = {
                run: result or _execute(fork, run, database, env, logs[run])
                for run, result in results.items()
            }
        for run, result in whole.items():
            news = [f for f in result.failures if f not in whole[BASE].failures]
            counts = (result.tests, result.skipped, len(result.failures), len(news))
            cells = (f"{count:,}" for count in counts)
            style = "red" if news else None
            grid.add_row(f"{database}, {run.title}", *cells, style=style)
            for line in news:
                passed = False
                say(f"{database}, {run.title}: {line}")
    tables.show(grid)
    return passed
