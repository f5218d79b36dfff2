"""The ticket's shapes on the versions of Django since 2.2."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from patchkit import KitError, processes, relative, say, suite, tables
from patchkit.databases import empty_database
from patchkit.demo import in_short
from patchkit.fork import Fork
from patchkit.tables import WIDTH

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
        words = [self.driver, "sqlparse==0.5.0"]
        words += [f"django=={self.django}"] * bool(self.django)
        words += [f"asgiref=={self.asgiref}"] * bool(self.asgiref)
        return words


# With the oldest and the newest asgiref that each Django accepts, and pip finds
# for that Python; in between, the one before tasks inherited connections. Django
# 2.2 and 3.0 want a psycopg2 before 2.9.
OLD = ("3.8", "psycopg2-binary==2.8.6")
LESS_OLD = ("3.8", "psycopg2-binary==2.9.9")
NEW = ("3.12", PSYCOPG)
RELEASES = (
    Release("2.2.28", "", *OLD),
    Release("3.0.14", "3.2.0", *OLD),
    Release("3.0.14", "3.8.1", *OLD),
    Release("3.1.14", "3.2.10", *LESS_OLD),
    Release("3.1.14", "3.8.1", *LESS_OLD),
    Release("3.2.25", "3.3.2", *LESS_OLD),
    Release("3.2.25", "3.8.1", *LESS_OLD),
    Release("4.2.30", "3.6.0", *NEW),
    Release("4.2.30", "3.7.2", *NEW),
    Release("4.2.30", "3.13.0", *NEW),
    Release("5.2.19", "3.8.1", *NEW),
    Release("5.2.19", "3.13.0", *NEW),
    Release("6.0.10", "3.9.1", *NEW),
    Release("6.0.10", "3.13.0", *NEW),
    Release("6.1.3", "3.9.1", *NEW),
    Release("6.1.3", "3.13.0", *NEW),
    Release("", "3.9.1", *NEW, tree="django"),
    Release("", "3.13.0", *NEW, tree="django"),
    Release("", "3.9.1", *NEW, tree="django", scope="thread"),
    Release("", "3.13.0", *NEW, tree="django", scope="thread"),
)
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


def run(
    fork: Fork, release: Release, name: str, env: Mapping[str, str]
) -> dict[str, str]:
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
    manage = fork.root / suite.PACKAGE / "demo" / "manage.py"
    tree = release.tree or "base"
    variables = suite.environment(fork, tree, release.scope, env)
    if not release.tree:
        del variables["PYTHONPATH"]
    result = processes.run(
        [python, manage, "ticket31997", "--json"],
        env=variables | {"DJANGO_SETTINGS_MODULE": f"{suite.PACKAGE}.settings.{name}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if result.returncode:
        raise KitError(f"{release.name}, {name}:\n{result.stderr}")
    outcomes = [json.loads(line) for line in result.stdout.splitlines()]
    return {outcome["title"]: in_short(outcome) for outcome in outcomes}


def _has_to_pass(release: Release) -> bool:
    return release.scope == "thread" or release.django.startswith("2.")


def table(results: list[tuple[Release, dict[str, str]]], *, markdown: bool) -> Table:
    """Lay the results of one database out.

    Args:
        results: those of each release.
        markdown: make one that prints as Markdown.

    Returns:
        A table of rich's.
    """
    shapes = next(list(row) for _, row in results if "" not in row)
    grid = Table(box=box.MARKDOWN if markdown else box.SIMPLE_HEAD)
    for heading in ("Django", "asgiref", "Python", *shapes):
        grid.add_column(heading)
    for release, row in results:
        cells = [row.get(shape, row.get("", "")) for shape in shapes]
        if not markdown:
            cells = [f"[{'green' if c == 'ok' else 'red'}]{c}[/]" for c in cells]
        head = (release.title, release.asgiref or "none", release.python)
        grid.add_row(*head, *cells)
    return grid


def history(fork: Fork, *, save: bool = False) -> bool:
    """Run the shapes on all releases and both databases and print the tables.

    They go as JSON into django-fork/.history/ too.

    Args:
        save: write the tables into the pages that have them, too.

    Returns:
        Whether the patched tree passes every shape in "thread", and Django 2.2
        does if there is an interpreter for it.

    Raises:
        KitError: an environment can't be made, a run broke off, or no page
            has a place for the tables that it's to save.
    """
    record = []
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
                record.append({"database": name, **asdict(release), "results": row})
                if _has_to_pass(release) and "" not in row:
                    passed = passed and set(row.values()) == {"ok"}
        console = Console(width=None if os.isatty(1) else 2 * WIDTH)
        console.print(table(results, markdown=False))
        contents[f"history: {name}"] = tables.markdown(table(results, markdown=True))
    json_file = fork.fork / ".history" / "history.json"
    json_file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    say(f"{relative(json_file, fork.root)} has the same as JSON.")
    if save:
        tables.write(fork, contents)
    return passed
