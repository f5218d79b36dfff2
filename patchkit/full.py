"""Django's whole suite: no failure in the patched tree that the base lacks."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path

from rich.table import Column, Table

from patchkit import KitError, installed, postgresql, relative, say, suite, tables
from patchkit.fork import Fork
from patchkit.git import extract, git
from patchkit.processes import ending
from patchkit.servers import chosen
from patchkit.shapes import BASE, CONTEXT, THREAD, Run

# How often a run's progress is told, in seconds.
TELL = 30
HEADINGS = ("tests", "skipped", "failures", "that the base lacks")


# How many tests a run had, how many of them it skipped, and unittest's headings of
# those that failed.
type Result = tuple[int, int, set[str]]


def parse(output: str) -> Result | None:
    """Read what runtests.py printed; return None if it broke off."""
    pattern = r"^Ran (\d+) tests? in .+\n\n(?:OK|FAILED)(?:.*skipped=(\d+))?"
    end = re.search(pattern, output, re.M)
    if not end:
        return None
    # Where an object is, in the parameters of a subtest, differs each time.
    output = re.sub(r" at 0x[0-9a-f]+", "", output)
    failures = re.findall(r"^(?:ERROR|FAIL|UNEXPECTED SUCCESS): .+$", output, re.M)
    return int(end[1]), int(end[2] or 0), set(failures)


def _log(fork: Fork, run: Run, database: str, server: str) -> Path:
    """Return where a run's output is kept: a name by all that its result depends on."""
    # Not the whole tree: its docs don't count.
    code = git(fork.tree(run.tree), "rev-parse", "HEAD:django", "HEAD:tests")
    texts = [f.read_text() for f in sorted((fork.package / "settings").glob("*.py"))]
    words = [code, run.scope, server, *installed(), *texts]
    key = hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]
    return fork.fork / ".full" / f"{database}-{run.tree}-{run.scope}-{key}.log"


def _read(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""


def _run(fork: Fork, run: Run, name: str, env: Mapping[str, str], log: Path) -> Result:
    """Run the suite in a copy of the tree, unless it's kept, and tell how far it is."""
    if kept := parse(_read(log)):
        return kept
    title = f"{name}, {run.title}"
    say(f"== {title}: the output is in {relative(log, fork.root)}")
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as copy:
        # The committed code of the tree, which may be worked on meanwhile.
        extract(fork.tree(run.tree), "HEAD", Path(copy))
        path = {"PYTHONPATH": f"{copy}{os.pathsep}{fork.root}"}
        with (
            log.open("wb") as file,
            subprocess.Popen(
                [
                    *(sys.executable, "runtests.py", "--noinput"),
                    f"--settings={suite.PACKAGE}.settings.full_{name}",
                    f"--parallel={os.cpu_count()}",
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
    if result := parse(_read(log)):
        return result
    end = "".join(_read(log).splitlines(True)[-20:])
    raise KitError(f"{title}: the suite broke off.\n{end}")


def _progress(output: str) -> str:
    found = re.search(r"^Found (\d+) test", output, re.M)
    # A mark for each test that ended, as unittest prints them.
    done = sum(map(len, re.findall(r"^[.sxuEF]+$", output, re.M)))
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
    if again:
        shutil.rmtree(fork.fork / ".full", ignore_errors=True)
    (fork.fork / ".full").mkdir(exist_ok=True)
    own = chosen(postgresql.LOCATION)
    programs = None if own else postgresql.installation()
    grid = Table("run", *(Column(h, justify="right") for h in HEADINGS), box=None)
    passed = True
    for database, server in (("sqlite", ""), ("postgresql", str(own or programs))):
        runs = (BASE, CONTEXT, THREAD)
        logs = {run: _log(fork, run, database, server) for run in runs}
        needed = server and None in [parse(_read(log)) for log in logs.values()]
        with postgresql.server(programs) if needed else nullcontext(os.environ) as env:
            results = {run: _run(fork, run, database, env, logs[run]) for run in runs}
        for run, (tests, skipped, failures) in results.items():
            new, title = sorted(failures - results[BASE][2]), f"{database}, {run.title}"
            cells = [f"{n:,}" for n in (tests, skipped, len(failures), len(new))]
            grid.add_row(title, *cells, style="red" if new else None)
            for line in new:
                passed = False
                say(f"{title}: {line}")
    tables.show(grid)
    return passed
