"""The ticket's shapes: on both trees, and on the versions of Django since 2.2."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Column, Table

from patchkit import KitError, processes, say, suite, tables
from patchkit.databases import empty_database
from patchkit.fork import Fork

# The databases of the pages' table, as it calls them.
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Run:
    """What the shapes are run on.

    Attributes:
        title: how the table calls it.
        tree: "base" or "django"; "" for a Django that is installed.
        scope: the DATABASE_CONNECTION_SCOPE, which unpatched Django ignores.
        options: of the management command.
        python: the interpreter.
    """

    title: str
    tree: str = ""
    scope: str = "context"
    options: tuple[str, ...] = ()
    python: str | Path = sys.executable


BASE = Run("unpatched", "base", "context")
CONTEXT = Run('patched, "context"', "django", "context")
THREAD = Run('patched, "thread"', "django", "thread")
REWRITTEN = Run("unpatched, async_to_sync", "base", "context", ("--rewritten",))
RUNS = (BASE, CONTEXT, THREAD, REWRITTEN)

# What came of each shape, in their order.
type Outcomes = list[dict[str, Any]]


def run_shapes(fork: Fork, run: Run, name: str, env: Mapping[str, str]) -> Outcomes:
    """Run the shapes.

    Args:
        fork: the repository, with a checkout.
        run: what to run them on.
        name: that of the database, of databases.DATABASES; it's empty.
        env: the variables, in which the settings find it.

    Returns:
        What came of each, in their order.

    Raises:
        KitError: the run broke off.
    """
    manage = fork.package / "demo" / "manage.py"
    command = [run.python, manage, "ticket31997", "--json", *run.options]
    variables = suite.environment(fork, run.tree, run.scope, env)
    variables["DJANGO_SETTINGS_MODULE"] = f"{suite.PACKAGE}.settings.{name}"
    result = processes.run(command, env=variables, stdout=subprocess.PIPE)
    if result.returncode:
        raise KitError(f"The shapes fail ({run.title}, {name}): see above.")
    return [json.loads(line) for line in result.stdout.splitlines()]


def judge(outcomes: Mapping[Run, Outcomes]) -> Iterator[str]:
    """Compare the outcomes with what the ticket and its solution say.

    Args:
        outcomes: those of each of RUNS, in the same order of shapes.

    Yields:
        A line for each thing that isn't as it should be.
    """
    deeds = ("result", "questions", "choices", "connections", "backends_left")
    for base, context, thread, rewritten in zip(*outcomes.values(), strict=True):
        shape = base["shape"]
        # This one passes there too, since asgiref 3.8.
        if base["passed"] and shape != "async_atomic_gather":
            yield f"{shape} doesn't show the regression on the base."
        if [base[deed] for deed in deeds] != [context[deed] for deed in deeds]:
            yield f'{shape} is not the same on the base and in "context".'
        if not thread["passed"]:
            yield f'{shape} fails in "thread": {thread["result"]}.'
        if not rewritten["passed"] and not rewritten["result"].startswith("can't"):
            yield f"{shape} fails as rewritten: {rewritten['result']}."


def demo_table(outcomes: Mapping[Run, Outcomes]) -> Table:
    """Lay the outcomes out, shape by shape.

    Args:
        outcomes: those of each of RUNS, in the same order of shapes.

    Returns:
        A table of rich's.
    """
    on_server = outcomes[BASE][0]["backends_left"] is not None
    counts = ("rows", "connections", *["backends left"] * on_server, "seconds")
    columns = (Column(heading, justify="right") for heading in counts)
    result = Table("shape", "Django", "result", *columns, box=box.SIMPLE_HEAD)
    for each in zip(*outcomes.values(), strict=True):
        for run, outcome in zip(outcomes, each, strict=True):
            style = "green" if outcome["passed"] else "red"
            result.add_row(
                outcome["title"] if run is BASE else "",
                run.title,
                f"[{style}]{outcome['result']}[/]",
                f"{outcome['questions']} + {outcome['choices']}",
                str(outcome["connections"]),
                *[str(outcome["backends_left"])] * on_server,
                f"{outcome['seconds']:.2f}",
                end_section=run is RUNS[-1],
            )
    return result


def in_short(outcome: Mapping[str, object]) -> str:
    """Shorten a result for a cell of a table.

    Args:
        outcome: with the "result".

    Returns:
        The words that matter.
    """
    needless = r"^\w+: (?=rows invisible)|database is (?=locked)"
    return re.sub(needless, "", str(outcome["result"]))


def summary(outcomes: Mapping[str, Mapping[Run, Outcomes]]) -> Table:
    """Lay the outcomes of several databases out, a row for each shape.

    Args:
        outcomes: by the names in TITLES, as demo_table() takes them.

    Returns:
        A table of rich's that prints as Markdown.
    """
    runs = (BASE, REWRITTEN, THREAD)
    result = Table("shape", *(run.title for run in runs), box=box.MARKDOWN)
    for number, shape in enumerate(outcomes["sqlite"][BASE]):
        cells = []
        for run in runs:
            words = [in_short(each[run][number]) for each in outcomes.values()]
            named = [f"{TITLES[n]}: {w}" for n, w in zip(outcomes, words, strict=True)]
            cells.append(words[0] if len({*words}) == 1 else ". ".join(named))
        result.add_row(shape["title"], *cells)
    return result


def demo(fork: Fork, database: str, *, save: bool = False) -> bool:
    """Run the shapes four times and print the table.

    Args:
        database: one of databases.DATABASES.
        save: run them on all databases of TITLES instead, and write the table of
            the pages.

    Returns:
        Whether the base shows the regression, "context" does what the base
        does, every shape passes in "thread", and as rewritten if that can be done.

    Raises:
        KitError: a database can't be reached, or a run broke off.
    """
    results: dict[str, dict[Run, Outcomes]] = {}
    well = True
    for name in TITLES if save else (database,):
        results[name] = outcomes = {}
        with empty_database(name) as env:
            for run in RUNS:
                say(f"Running the shapes: {run.title}.")
                outcomes[run] = run_shapes(fork, run, name, env)
        tables.show(demo_table(outcomes))
        shapes = len(outcomes[BASE])
        passed = {run: sum(o["passed"] for o in outcomes[run]) for run in RUNS}
        took = {run: outcomes[run][-1]["seconds"] for run in RUNS}
        say(
            f"Unpatched Django fails {shapes - passed[BASE]} of {shapes} shapes, and "
            'the default, "context", is the same.\n'
            f'"thread" passes {passed[THREAD]} of {shapes}, each on the one connection '
            "of its thread, and makes the 1,000 inserts "
            f"{took[BASE] / took[THREAD]:.1f} times as fast.\n"
            f"{passed[REWRITTEN]} of {shapes} can be rewritten for async_to_sync() and "
            "the a-prefixed methods, and pass unpatched;\nthe 1,000 inserts then take "
            f'{took[REWRITTEN] / took[THREAD]:.1f} times as long as with "thread".'
        )
        for problem in judge(outcomes):
            say(problem)
            well = False
    if save:
        tables.write(fork, {"demo: shapes": tables.markdown(summary(results))})
    return well


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
RELEASES = [
    Release(run, asgiref, *python)
    for run, python, asgirefs in (
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
        [path, "-m", "venv", "--clear", directory],
        [python, "-m", "pip", "install", "--quiet", *release.requirements],
    ):
        result = processes.capture(command)
        if result.returncode:
            raise KitError(f"{release.name} can't be made:\n{result.stderr}")
    made.write_text(text)
    return python


def history_table(results: Mapping[Release, Outcomes]) -> Table:
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
        results: dict[Release, Outcomes] = {}
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
        grid = history_table(results)
        tables.show(grid)
        contents[f"history: {name}"] = tables.markdown(grid)
    if save:
        tables.write(fork, contents)
    return passed
