"""The demo: what it calls a success."""

import io
from typing import Any

import pytest
from rich.console import Console

from patchkit import shapes, tables

PASSES = {"result": "ok", "passed": True, "connections": 1, "backends_left": None}
FAILS = {
    "result": "database is locked",
    "passed": False,
    "connections": 2,
    "backends_left": None,
}
CANT = {**FAILS, "result": "can't: a block in a coroutine", "connections": 0}


def outcome(shape: str, deeds: dict[str, Any]) -> dict[str, Any]:
    rows = {"questions": 10, "choices": 90, "seconds": 0.5}
    return {"shape": shape, "title": shape, **rows, **deeds}


def outcomes() -> dict[shapes.Run, list[dict[str, Any]]]:
    unpatched = [outcome("async_atomic_gather", PASSES), outcome("inserts", FAILS)]
    patched = [outcome("async_atomic_gather", PASSES), outcome("inserts", PASSES)]
    return {
        shapes.BASE: unpatched,
        shapes.CONTEXT: [dict(each) for each in unpatched],
        shapes.THREAD: patched,
        shapes.REWRITTEN: [outcome("async_atomic_gather", CANT), patched[1]],
    }


def test_the_ticket_and_its_solution() -> None:
    assert [*shapes.judge(outcomes())] == []


@pytest.mark.parametrize(
    ("run", "change", "problem"),
    [
        (shapes.BASE, PASSES, "inserts doesn't show the regression on the base."),
        (shapes.CONTEXT, {"connections": 3}, "inserts is not the same on the base"),
        (shapes.THREAD, FAILS, 'inserts fails in "thread": database is locked.'),
        (shapes.REWRITTEN, FAILS, "inserts fails as rewritten: database is locked."),
    ],
)
def test_anything_else(run: shapes.Run, change: dict[str, Any], problem: str) -> None:
    given = outcomes()
    given[run][1] = given[run][1] | change
    assert any(line.startswith(problem) for line in shapes.judge(given))


@pytest.mark.parametrize("left", [None, 0])
def test_the_table_has_a_row_for_each_run_of_each_shape(left: int | None) -> None:
    given = outcomes()
    for each in given.values():
        for one in each:
            one["backends_left"] = left
    table = shapes.demo_table(given)
    assert table.row_count == 8
    console = Console(file=io.StringIO(), width=tables.WIDTH)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert ("backends left" in text) is (left is not None)
    assert text.count("database is locked") == 2
    assert text.count("can't: a block in a coroutine") == 1


def test_the_summary_tells_databases_apart_where_they_differ() -> None:
    postgresql = outcomes()
    invisible = {"result": "IntegrityError: rows invisible"}
    postgresql[shapes.BASE][1] = postgresql[shapes.BASE][1] | invisible
    both = {"sqlite": outcomes(), "postgresql": postgresql}
    assert tables.markdown(shapes.summary(both)).splitlines() == [
        '| shape | unpatched | unpatched, async_to_sync | patched, "thread" |',
        "|---|---|---|---|",
        "| async_atomic_gather | ok | can't: a block in a coroutine | ok |",
        "| inserts | SQLite: locked. PostgreSQL: rows invisible | ok | ok |",
    ]
