"""The demo: the ticket's shapes on unpatched and on patched Django, as a table."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from patchkit import KitError, processes, say, suite
from patchkit.databases import empty_database
from patchkit.fork import Fork
from patchkit.tables import WIDTH

# Passes on unpatched Django too, since asgiref 3.8, by accident.
PASSES_ANYWAY = "async_atomic_gather"


@dataclass(frozen=True)
class Run:
    """One of the three things that are compared.

    Attributes:
        title: how the table calls it.
        tree: "base" or "django".
        scope: the DATABASE_CONNECTION_SCOPE, which unpatched Django ignores.
    """

    title: str
    tree: str
    scope: str


BASE = Run("unpatched", "base", "context")
CONTEXT = Run('patched, "context"', "django", "context")
THREAD = Run('patched, "thread"', "django", "thread")
RUNS = (BASE, CONTEXT, THREAD)

type Outcome = dict[str, Any]


def _run(fork: Fork, run: Run, database: str, env: Mapping[str, str]) -> list[Outcome]:
    say(f"Running the shapes: {run.title}.")
    manage = fork.root / "tests_ticket31997" / "demo" / "manage.py"
    result = processes.run(
        [sys.executable, manage, "ticket31997", "--json"],
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
    for base, context, thread in zip(*(outcomes[run] for run in RUNS), strict=True):
        shape = base["shape"]
        if base["passed"] and shape != PASSES_ANYWAY:
            problems.append(f"{shape} doesn't show the regression on the base.")
        if [base[deed] for deed in deeds] != [context[deed] for deed in deeds]:
            problems.append(f'{shape} is not the same on the base and in "context".')
        if not thread["passed"]:
            problems.append(f'{shape} fails in "thread": {thread["result"]}.')
    return problems


def table(
    outcomes: Mapping[Run, list[Outcome]],
    titles: Mapping[str, str],
    *,
    markdown: bool = False,
) -> Table:
    """Lay the outcomes out, shape by shape.

    Args:
        outcomes: those of each run, in the same order of shapes.
        titles: what to call each shape.
        markdown: make one that prints as Markdown, which knows no sections.

    Returns:
        A table of rich's.
    """
    on_server = outcomes[BASE][0]["backends_left"] is not None
    result = Table(box=box.MARKDOWN if markdown else box.SIMPLE_HEAD)
    for heading in ("shape", "Django", "result"):
        result.add_column(heading)
    for heading in ("rows", "connections", *["backends left"] * on_server, "seconds"):
        result.add_column(heading, justify="right")
    for each in zip(*(outcomes[run] for run in RUNS), strict=True):
        for run, outcome in zip(RUNS, each, strict=True):
            style = "green" if outcome["passed"] else "red"
            result.add_row(
                titles[outcome["shape"]] if run is BASE or markdown else "",
                run.title,
                f"[{style}]{outcome['result']}[/]",
                f"{outcome['questions']} + {outcome['choices']}",
                str(outcome["connections"]),
                *[str(outcome["backends_left"])] * on_server,
                f"{outcome['seconds']:.2f}",
                end_section=run is THREAD and not markdown,
            )
    return result


def demo(fork: Fork, database: str, *, markdown: bool = False) -> bool:
    """Run the shapes three times and print the table.

    Args:
        fork: the repository, with a checkout.
        database: one of databases.DATABASES.
        markdown: print the table as Markdown.

    Returns:
        Whether the base shows the regression, "context" does what the base
        does, and every shape passes in "thread".

    Raises:
        KitError: the database can't be reached, or a run broke off.
    """
    with empty_database(database) as env:
        outcomes = {run: _run(fork, run, database, env) for run in RUNS}
    problems = judge(outcomes)
    titles = {o["shape"]: o["title"] for o in outcomes[BASE]}
    result = table(outcomes, titles, markdown=markdown)
    console = Console(width=None if sys.stdout.isatty() and not markdown else WIDTH)
    console.print(result)
    failed = sum(not o["passed"] for o in outcomes[BASE])
    passed = sum(o["passed"] for o in outcomes[THREAD])
    slow, fast = (outcomes[run][-1]["seconds"] for run in (BASE, THREAD))
    console.print(
        f"Unpatched Django fails {failed} of {len(titles)} shapes, and the default, "
        f'"context", is the same.\n"thread" passes {passed} of {len(titles)}, each on '
        f"the one connection of its thread, and makes the 1,000 inserts "
        f"{slow / fast:.1f} times as fast.",
        highlight=False,
        soft_wrap=True,
    )
    for problem in problems:
        console.print(problem, style="bold red", highlight=False)
    return not problems
