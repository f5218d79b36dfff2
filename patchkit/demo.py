"""The demo: the ticket's shapes on unpatched and on patched Django, as a table."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from patchkit import KitError, processes, say, suite, tables
from patchkit.databases import empty_database
from patchkit.fork import Fork
from patchkit.tables import WIDTH

# Passes on unpatched Django too, since asgiref 3.8.
PASSES_ANYWAY = "async_atomic_gather"
# The databases of the pages' table, as it calls them.
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Run:
    """One of the four things that are compared.

    Attributes:
        title: how the table calls it.
        tree: "base" or "django".
        scope: the DATABASE_CONNECTION_SCOPE, which unpatched Django ignores.
        options: of the management command.
    """

    title: str
    tree: str
    scope: str
    options: tuple[str, ...] = ()


BASE = Run("unpatched", "base", "context")
CONTEXT = Run('patched, "context"', "django", "context")
THREAD = Run('patched, "thread"', "django", "thread")
REWRITTEN = Run("unpatched, async_to_sync", "base", "context", ("--rewritten",))
RUNS = (BASE, CONTEXT, THREAD, REWRITTEN)

type Outcome = dict[str, Any]


def _run(fork: Fork, run: Run, database: str, env: Mapping[str, str]) -> list[Outcome]:
    say(f"Running the shapes: {run.title}.")
    manage = fork.root / "tests_ticket31997" / "demo" / "manage.py"
    result = processes.run(
        [sys.executable, manage, "ticket31997", "--json", *run.options],
        env=suite.environment(fork, run.tree, run.scope, env)
        | {"DJANGO_SETTINGS_MODULE": f"tests_ticket31997.settings.{database}"},
        stdout=subprocess.PIPE,
    )
    if result.returncode:
        raise KitError(f"The demo failed ({run.title}): its output is above.")
    return [json.loads(line) for line in result.stdout.splitlines()]


def judge(outcomes: Mapping[Run, list[Outcome]]) -> list[str]:
    """Compare the outcomes with what the ticket and its solution say.

    Args:
        outcomes: those of each run, in the same order of shapes.

    Returns:
        A line for each thing that isn't as it should be; empty if all is well.
    """
    problems = []
    deeds = ("result", "questions", "choices", "connections", "backends_left")
    for base, context, thread, rewritten in zip(
        *(outcomes[run] for run in RUNS), strict=True
    ):
        shape = base["shape"]
        if base["passed"] and shape != PASSES_ANYWAY:
            problems.append(f"{shape} doesn't show the regression on the base.")
        if [base[deed] for deed in deeds] != [context[deed] for deed in deeds]:
            problems.append(f'{shape} is not the same on the base and in "context".')
        if not thread["passed"]:
            problems.append(f'{shape} fails in "thread": {thread["result"]}.')
        if not rewritten["passed"] and not rewritten["result"].startswith("can't"):
            problems.append(f"{shape} fails as rewritten: {rewritten['result']}.")
    return problems


def table(outcomes: Mapping[Run, list[Outcome]], titles: Mapping[str, str]) -> Table:
    """Lay the outcomes out, shape by shape.

    Args:
        outcomes: those of each run, in the same order of shapes.
        titles: what to call each shape.

    Returns:
        A table of rich's.
    """
    on_server = outcomes[BASE][0]["backends_left"] is not None
    result = Table(box=box.SIMPLE_HEAD)
    for heading in ("shape", "Django", "result"):
        result.add_column(heading)
    for heading in ("rows", "connections", *["backends left"] * on_server, "seconds"):
        result.add_column(heading, justify="right")
    for each in zip(*(outcomes[run] for run in RUNS), strict=True):
        for run, outcome in zip(RUNS, each, strict=True):
            style = "green" if outcome["passed"] else "red"
            result.add_row(
                titles[outcome["shape"]] if run is BASE else "",
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
    words = str(outcome["result"]).replace("database is locked", "locked")
    return re.sub(r"^\w+: rows invisible", "rows invisible", words)


def summary(outcomes: Mapping[str, Mapping[Run, list[Outcome]]]) -> Table:
    """Lay the outcomes of several databases out, a row for each shape.

    Args:
        outcomes: by the name of the database, as table() takes them.

    Returns:
        A table of rich's that prints as Markdown.
    """
    runs = (BASE, REWRITTEN, THREAD)
    result = Table(box=box.MARKDOWN)
    for heading in ("shape", *(run.title for run in runs)):
        result.add_column(heading)
    first = next(iter(outcomes.values()))
    for number, shape in enumerate(first[BASE]):
        cells = []
        for run in runs:
            words = {
                TITLES[name]: in_short(each[run][number])
                for name, each in outcomes.items()
            }
            alike = len(set(words.values())) == 1
            each_by_name = [f"{name}: {word}" for name, word in words.items()]
            cells.append(". ".join([*words.values()][:1] if alike else each_by_name))
        result.add_row(shape["title"], *cells)
    return result


def _compare(fork: Fork, database: str) -> tuple[dict[Run, list[Outcome]], bool]:
    """Run the shapes on a database and print what comes of it.

    Returns:
        The outcomes, and whether all is as it should be.
    """
    with empty_database(database) as env:
        outcomes = {run: _run(fork, run, database, env) for run in RUNS}
    problems = judge(outcomes)
    titles = {o["shape"]: o["title"] for o in outcomes[BASE]}
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(table(outcomes, titles))
    failed = sum(not o["passed"] for o in outcomes[BASE])
    passed = sum(o["passed"] for o in outcomes[THREAD])
    rewritten = sum(o["passed"] for o in outcomes[REWRITTEN])
    slow, fast, other = (
        outcomes[run][-1]["seconds"] for run in (BASE, THREAD, REWRITTEN)
    )
    console.print(
        f"Unpatched Django fails {failed} of {len(titles)} shapes, and the default, "
        f'"context", is the same.\n"thread" passes {passed} of {len(titles)}, each on '
        f"the one connection of its thread, and makes the 1,000 inserts "
        f"{slow / fast:.1f} times as fast.\n"
        f"{rewritten} of {len(titles)} can be rewritten for async_to_sync() and the "
        "a-prefixed methods, and pass unpatched;\nthe 1,000 inserts then take "
        f'{other / fast:.1f} times as long as with "thread".',
        highlight=False,
        soft_wrap=True,
    )
    for problem in problems:
        console.print(problem, style="bold red", highlight=False)
    return outcomes, not problems


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
    databases = TITLES if save else (database,)
    results = {name: _compare(fork, name) for name in databases}
    if save:
        grid = summary({name: outcomes for name, (outcomes, _) in results.items()})
        tables.write(fork, {"demo: shapes": tables.markdown(grid)})
    return all(passed for _, passed in results.values())
