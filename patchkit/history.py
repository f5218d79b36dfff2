"""The ticket's shapes on the versions of Django since 2.2."""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.table import Table

from patchkit import KitError, say, tables
from patchkit.databases import empty_database
from patchkit.demo import CONTEXT, THREAD, TITLES, Outcome, Run, in_short, run_shapes
from patchkit.fork import Fork

PSYCOPG = "psycopg[binary]==3.3.9"


@dataclass(frozen=True)
class Release:
    """An environment: a release of Django, or a tree, and what it is run with.

    Attributes:
        run: what the tables call it, and its tree if it's one of the checkout.
        asgiref: the version, or "" for a Django that needs none.
        python: the version of the interpreter, such as "3.12".
        driver: what to install for PostgreSQL.
    """

    run: Run
    asgiref: str
    python: str
    driver: str

    @property
    def name(self) -> str:
        """The name of its environment: scopes share one."""
        django = f"django-{self.run.tree or self.run.title}"
        return "-".join([django, *[f"asgiref-{self.asgiref}"] * bool(self.asgiref)])

    @property
    def requirements(self) -> list[str]:
        """What is installed, in pip's words."""
        django = "" if self.run.tree else self.run.title
        versions = {"django": django, "asgiref": self.asgiref}
        pins = [f"{name}=={version}" for name, version in versions.items() if version]
        return [self.driver, "sqlparse==0.5.0", *pins]


# With the oldest and the newest asgiref that each Django accepts, and pip finds
# for that Python; in between, the one before tasks inherited connections. Django
# 2.2 and 3.0 want a psycopg2 before 2.9.
OLD = ("3.8", "psycopg2-binary==2.8.6")
LESS_OLD = ("3.8", "psycopg2-binary==2.9.9")
NEW = ("3.12", PSYCOPG)
VERSIONS = (
    (Run("2.2.28"), OLD, [""]),
    (Run("3.0.14"), OLD, ["3.2.0", "3.8.1"]),
    (Run("3.1.14"), LESS_OLD, ["3.2.10", "3.8.1"]),
    (Run("3.2.25"), LESS_OLD, ["3.3.2", "3.8.1"]),
    (Run("4.2.30"), NEW, ["3.6.0", "3.7.2", "3.13.0"]),
    (Run("5.2.19"), NEW, ["3.8.1", "3.13.0"]),
    (Run("6.0.10"), NEW, ["3.9.1", "3.13.0"]),
    (Run("6.1.3"), NEW, ["3.9.1", "3.13.0"]),
    (CONTEXT, NEW, ["3.9.1", "3.13.0"]),
    (THREAD, NEW, ["3.9.1", "3.13.0"]),
)
RELEASES = [
    Release(run, asgiref, *python)
    for run, python, asgirefs in VERSIONS
    for asgiref in asgirefs
]
NO_INTERPRETER = "no interpreter"


def environment(fork: Fork, release: Release) -> Path | None:
    """Make an environment, unless it is there.

    Args:
        release: what to install.

    Returns:
        Its Python, or None if there is no interpreter of the version.

    Raises:
        KitError: something can't be installed.
    """
    directory = fork.fork / ".history" / release.name
    python = directory / "bin" / "python"
    made = directory / "requirements.txt"
    text = "".join(f"{word}\n" for word in release.requirements)
    if made.exists() and made.read_text() == text:
        return python
    path = shutil.which(f"python{release.python}")
    # A shim of pyenv's is there for versions too that aren't chosen.
    if not path or subprocess.run([path, "-c", ""], capture_output=True).returncode:
        # A tree of the checkout runs on what we run on, if need be.
        path = sys.executable if release.run.tree else None
    if not path:
        return None
    say(f"   installing {' '.join(release.requirements)}")
    for command in (
        [path, "-m", "venv", "--clear", str(directory)],
        [str(python), "-m", "pip", "install", "--quiet", *release.requirements],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise KitError(f"{release.name} can't be made:\n{result.stderr}")
    made.write_text(text)
    return python


def table(results: Mapping[Release, Sequence[Outcome]]) -> Table:
    """Lay the results of one database out.

    Args:
        results: what came of each shape on each release; nothing on one that there
            is no interpreter for.

    Returns:
        A table of rich's that prints as Markdown.
    """
    shapes = [outcome["title"] for outcome in max(results.values(), key=len)]
    grid = Table("Django", "asgiref", "Python", *shapes, box=box.MARKDOWN)
    for release, outcomes in results.items():
        missing = f"{NO_INTERPRETER} (Python {release.python})"
        words = [*map(in_short, outcomes)] or [missing] * len(shapes)
        cells = (f"[{'green' if word == 'ok' else 'red'}]{word}[/]" for word in words)
        head = (release.run.title, release.asgiref or "none", release.python)
        grid.add_row(*head, *cells)
    return grid


def history(fork: Fork, *, save: bool = False) -> bool:
    """Run the shapes on all releases and both databases and print the tables.

    Args:
        save: write the tables into the pages that have them, too.

    Returns:
        Whether the patched tree passes every shape in "thread", and Django 2.2
        does if there is an interpreter for it.

    Raises:
        KitError: an environment can't be made, a run broke off, or no page
            has a place for the tables that it's to save.
    """
    contents = {}
    passed = True
    for name in TITLES:
        results: dict[Release, list[Outcome]] = {}
        with empty_database(name) as env:
            for number, release in enumerate(RELEASES, 1):
                title = f"{release.run.title}, asgiref {release.asgiref or 'none'}"
                say(f"{name} {number}/{len(RELEASES)}: {title}")
                results[release] = []
                if python := environment(fork, release):
                    run = replace(release.run, title=release.name, python=python)
                    results[release] = run_shapes(fork, run, name, env)
                if release.run == THREAD or release.run.title.startswith("2."):
                    passed &= all(outcome["passed"] for outcome in results[release])
        grid = table(results)
        tables.show(grid, 2 * tables.WIDTH)
        contents[f"history: {name}"] = tables.markdown(grid)
    if save:
        tables.write(fork, contents)
    return passed
