"""The ticket's shapes on the versions of Django since 2.2."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from patchkit import KitError, say, suite, tables
from patchkit.databases import empty_database
from patchkit.demo import Run, in_short, run_shapes
from patchkit.fork import Fork

PSYCOPG = "psycopg[binary]==3.3.9"


@dataclass(frozen=True)
class Release:
    """An environment: a release of Django and what it is run with.

    Attributes:
        django: the version, or "" for a tree of the checkout.
        asgiref: the version, or "" for a Django that needs none.
        python: the version of the interpreter, such as "3.12".
        driver: what to install for PostgreSQL.
        tree: "base" or "django" if it's a tree of the checkout.
        scope: the DATABASE_CONNECTION_SCOPE, which only a patched tree reads.
    """

    django: str
    asgiref: str
    python: str
    driver: str
    tree: str = ""
    scope: str = "context"

    @property
    def name(self) -> str:
        """The name of its environment: scopes share one."""
        django = f"django-{self.django or self.tree}"
        return "-".join([django, *[f"asgiref-{self.asgiref}"] * bool(self.asgiref)])

    @property
    def title(self) -> str:
        """What the tables call it."""
        return self.django or f'patched, "{self.scope}"'

    @property
    def requirements(self) -> list[str]:
        """What is installed, in pip's words."""
        versions = {"django": self.django, "asgiref": self.asgiref}
        pins = [f"{name}=={version}" for name, version in versions.items() if version]
        return [self.driver, "sqlparse==0.5.0", *pins]


# With the oldest and the newest asgiref that each Django accepts, and pip finds
# for that Python; in between, the one before tasks inherited connections. Django
# 2.2 and 3.0 want a psycopg2 before 2.9.
OLD = ("3.8", "psycopg2-binary==2.8.6")
LESS_OLD = ("3.8", "psycopg2-binary==2.9.9")
NEW = ("3.12", PSYCOPG)
VERSIONS = (
    ("2.2.28", OLD, [""]),
    ("3.0.14", OLD, ["3.2.0", "3.8.1"]),
    ("3.1.14", LESS_OLD, ["3.2.10", "3.8.1"]),
    ("3.2.25", LESS_OLD, ["3.3.2", "3.8.1"]),
    ("4.2.30", NEW, ["3.6.0", "3.7.2", "3.13.0"]),
    ("5.2.19", NEW, ["3.8.1", "3.13.0"]),
    ("6.0.10", NEW, ["3.9.1", "3.13.0"]),
    ("6.1.3", NEW, ["3.9.1", "3.13.0"]),
)
RELEASES = [
    Release(django, asgiref, *python)
    for django, python, asgirefs in VERSIONS
    for asgiref in asgirefs
] + [
    Release("", asgiref, *NEW, tree="django", scope=scope)
    for scope in suite.SCOPES
    for asgiref in VERSIONS[-1][2]
]
NO_INTERPRETER = "no interpreter"
DATABASES = ("sqlite", "postgresql")

type Row = dict[str, str]


def interpreter(version: str) -> str | None:
    """Find an interpreter.

    Args:
        version: such as "3.12".

    Returns:
        The path of a Python of that version that runs, or None.
    """
    path = shutil.which(f"python{version}")
    if not path:
        return None
    # A shim of pyenv's is there for versions too that aren't chosen.
    result = subprocess.run([path, "-c", ""], capture_output=True)
    return None if result.returncode else path


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
    # A tree of the checkout runs on what we run on, if need be.
    path = interpreter(release.python) or (release.tree and sys.executable)
    if not path:
        return None
    say(f"   installing {' '.join(release.requirements)}")
    shutil.rmtree(directory, ignore_errors=True)
    for command in (
        [path, "-m", "venv", str(directory)],
        [str(python), "-m", "pip", "install", "--quiet", *release.requirements],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise KitError(f"{release.name} can't be made:\n{result.stderr}")
    made.write_text(text)
    return python


def run(fork: Fork, release: Release, name: str, env: Mapping[str, str]) -> Row:
    """Run the shapes in an environment.

    Args:
        fork: the repository, with a checkout.
        release: the environment.
        name: "sqlite" or "postgresql".
        env: the variables, in which libpq finds the server.

    Returns:
        The result of each shape by its title, or a word for why there is none.

    Raises:
        KitError: the environment can't be made, or the run broke off.
    """
    python = environment(fork, release)
    if python is None:
        return {"": f"{NO_INTERPRETER} (Python {release.python})"}
    which = Run(release.name, release.tree, release.scope)
    outcomes = run_shapes(fork, which, name, env, python)
    return {outcome["title"]: in_short(outcome) for outcome in outcomes}


def table(results: list[tuple[Release, Row]]) -> Table:
    """Lay the results of one database out.

    Args:
        results: those of each release.

    Returns:
        A table of rich's that prints as Markdown.
    """
    shapes = next(list(row) for _, row in results if "" not in row)
    grid = Table("Django", "asgiref", "Python", *shapes, box=box.MARKDOWN)
    for release, row in results:
        cells = [row.get(shape, row.get("", "")) for shape in shapes]
        cells = [f"[{'green' if c == 'ok' else 'red'}]{c}[/]" for c in cells]
        head = (release.title, release.asgiref or "none", release.python)
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
    for name in DATABASES:
        results = []
        with empty_database(name) as env:
            for number, release in enumerate(RELEASES, 1):
                title = f"{release.title}, asgiref {release.asgiref or 'none'}"
                say(f"{name} {number}/{len(RELEASES)}: {title}")
                row = run(fork, release, name, env)
                results.append((release, row))
                has_to = release.scope == "thread" or release.django.startswith("2.")
                passed &= not has_to or "" in row or set(row.values()) == {"ok"}
        grid = table(results)
        tables.show(grid, 2 * tables.WIDTH)
        contents[f"history: {name}"] = tables.markdown(grid)
    if save:
        tables.write(fork, contents)
    return passed
