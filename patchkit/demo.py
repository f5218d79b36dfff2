"""The demo: the ticket's shapes on unpatched and on patched Django, as a table."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Column, Table

from patchkit import KitError, processes, say, suite, tables
from patchkit.databases import empty_database
from patchkit.fork import Fork

# Passes on unpatched Django too, since asgiref 3.8.
PASSES_ANYWAY = "async_atomic_gather"
# The databases of the pages' table, as it calls them.
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Run:
    """One of the four things that are compared.

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

type Outcome = dict[str, Any]


def run_shapes(
    fork: Fork, run: Run, database: str, env: Mapping[str, str]
) -> list[Outcome]:
    """Run the shapes.

    Args:
        fork: the repository, with a checkout.
        run: what to run them on.
        database: one of databases.DATABASES, which is empty.
        env: the variables, in which the settings find it.

    Returns:
        What came of each, in their order.

    Raises:
        KitError: the run broke off.
    """
    manage = fork.package / "demo" / "manage.py"
    command = [run.python, manage, "ticket31997", "--json", *run.options]
    variables = suite.environment(fork, run.tree, run.scope, env)
    variables["DJANGO_SETTINGS_MODULE"] = f"{suite.PACKAGE}.settings.{database}"
    result = processes.run(command, env=variables, stdout=subprocess.PIPE)
    if result.returncode:
        raise KitError(f"The shapes fail ({run.title}, {database}): see above.")
    return [json.loads(line) for line in result.stdout.splitlines()]


def judge(outcomes: Mapping[Run, list[Outcome]]) -> Iterator[str]:
    """Compare the outcomes with what the ticket and its solution say.

    Args:
        outcomes: those of each of RUNS, in the same order of shapes.

    Yields:
        A line for each thing that isn't as it should be.
    """
    deeds = ("result", "questions", "choices", "connections", "backends_left")
    for base, context, thread, rewritten in zip(*outcomes.values(), strict=True):
        shape = base["shape"]
        if base["passed"] and shape != PASSES_ANYWAY:
            yield f"{shape} doesn't show the regression on the base."
        if [base[deed] for deed in deeds] != [context[deed] for deed in deeds]:
            yield f'{shape} is not the same on the base and in "context".'
        if not thread["passed"]:
            yield f'{shape} fails in "thread": {thread["result"]}.'
        if not rewritten["passed"] and not rewritten["result"].startswith("can't"):
            yield f"{shape} fails as rewritten: {rewritten['result']}."


def table(outcomes: Mapping[Run, list[Outcome]]) -> Table:
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


def summary(outcomes: Mapping[str, Mapping[Run, list[Outcome]]]) -> Table:
    """Lay the outcomes of several databases out, a row for each shape.

    Args:
        outcomes: by the name of the database, as table() takes them.

    Returns:
        A table of rich's that prints as Markdown.
    """
    runs = (BASE, REWRITTEN, THREAD)
    result = Table("shape", *(run.title for run in runs), box=box.MARKDOWN)
    first = next(iter(outcomes.values()))
    for number, shape in enumerate(first[BASE]):
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
        database: of suite.DATABASES.
        save: run them on all databases of TITLES instead, and write the table of
            the pages.

    Returns:
        Whether the base shows the regression, "context" does what the base
        does, every shape passes in "thread", and as rewritten if that can be done.

    Raises:
        KitError: a database can't be reached, or a run broke off.
    """
    results: dict[str, dict[Run, list[Outcome]]] = {}
    well = True
    for name in TITLES if save else (database,):
        results[name] = outcomes = {}
        with empty_database(name) as env:
            for run in RUNS:
                say(f"Running the shapes: {run.title}.")
                outcomes[run] = run_shapes(fork, run, name, env)
        problems = [*judge(outcomes)]
        tables.show(table(outcomes))
        say("\n".join([_findings(outcomes), *problems]))
        well = well and not problems
    if save:
        tables.write(fork, {"demo: shapes": tables.markdown(summary(results))})
    return well


def _findings(outcomes: Mapping[Run, list[Outcome]]) -> str:
    shapes = len(outcomes[BASE])
    passed = {run: sum(o["passed"] for o in outcomes[run]) for run in RUNS}
    seconds = {run: outcomes[run][-1]["seconds"] for run in RUNS}
    return (
        f"Unpatched Django fails {shapes - passed[BASE]} of {shapes} shapes, and the "
        'default, "context", is the same.\n'
        f'"thread" passes {passed[THREAD]} of {shapes}, each on the one connection of '
        "its thread, and makes the 1,000 inserts "
        f"{seconds[BASE] / seconds[THREAD]:.1f} times as fast.\n"
        f"{passed[REWRITTEN]} of {shapes} can be rewritten for async_to_sync() and the "
        "a-prefixed methods, and pass unpatched;\nthe 1,000 inserts then take "
        f'{seconds[REWRITTEN] / seconds[THREAD]:.1f} times as long as with "thread".'
    )
