"""What psycopg does for Django: its pool, and server-side parameter binding.

What code on an event loop takes from the pool comes back when that code closes its
connections, which it doesn't have to in "thread": synchronous code does.
"""

import json
from collections.abc import Mapping

import psycopg

from clients.conftest import in_all_runs, tell, texts
from patchkit.shapes import Run
from tests_ticket31997.patience import PATIENCE

SET_UP = """\
import asyncio, json, django
django.setup()
from django.db import Error, connection, connections
from django.db.transaction import atomic, set_rollback
from tests_ticket31997.models import Question
"""

POOL = (
    SET_UP
    + """
def attempt(function, *arguments, **parameters):
    try:
        return function(*arguments, **parameters) and "ok"
    except Error as e:
        return f"{type(e).__name__}: {e}"

async def task(number):
    if number == pool.max_size:
        # Whoever has one keeps it: there's nothing to wait for.
        pool.timeout = 0.001
    return attempt(Question.objects.create, question_text=f"{number:03}")

async def main():
    return await asyncio.gather(*map(task, range(200)))

pool = connection.pool
pool.open(wait=True)
results = asyncio.run(main())
connections.close_all()
stats = pool.get_stats()
print(json.dumps({
    "results": {result: results.count(result) for result in results},
    "stats": [stats["pool_size"], stats["pool_available"]],
    "afterwards": attempt(Question.objects.count),
}))
connections.close_all()
"""
)
NONE = "OperationalError: couldn't get a connection after 0.00 sec"


@in_all_runs
def test_pool(
    run: Run, server: Mapping[str, str], database: psycopg.Connection
) -> None:
    options = {"pool": {"min_size": 2, "max_size": 20, "timeout": PATIENCE}}
    told = tell(dict(server) | {"TICKET31997_OPTIONS": json.dumps(options)}, run, POOL)
    if run.scope == "thread":
        results, written = {"ok": 200}, 200
        stats, afterwards = [2, 2], "ok"
    else:
        results, written = {"ok": 20, NONE: 180}, 20
        stats, afterwards = [20, 0], NONE
    assert told == {"results": results, "stats": stats, "afterwards": afterwards}
    assert texts(database) == [f"{number:03}" for number in range(written)]


BINDING = (
    SET_UP
    + """
async def write(text):
    with atomic():
        Question.objects.create(question_text=text)

async def main():
    read = []
    await asyncio.gather(write("one"), write("two"))
    # In a cursor on the server.
    for question in Question.objects.order_by("pk").iterator(chunk_size=1):
        read.append(question.question_text)
        await asyncio.create_task(write(f"after {read[-1]}"))
    return connection.connection.cursor_factory.__name__, read

with atomic():
    Question.objects.create(question_text="sync")
    print(json.dumps(asyncio.run(main())))
    set_rollback(True)
connections.close_all()
"""
)


@in_all_runs
def test_server_side_binding(
    run: Run, server: Mapping[str, str], database: psycopg.Connection
) -> None:
    options = json.dumps({"server_side_binding": True})
    factory, read = tell(dict(server) | {"TICKET31997_OPTIONS": options}, run, BINDING)
    assert factory == "ServerBindingCursor"
    if run.scope == "thread":
        assert read == ["sync", "one", "two"]
        assert texts(database) == []
    else:
        assert read == ["one", "two"]
        assert texts(database) == ["after one", "after two", "one", "two"]
