"""Greenlets of gevent, which patches threading.local to be theirs.

Workers of gunicorn are the same in both scopes, and as on unpatched Django. Where one
greenlet runs an event loop, it's in the thread of all: in "context" what the others
look up changes in the middle of their transactions, which are lost. In "thread" each
keeps its connection.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg

from clients.conftest import backends, environment, in_all_runs, tell, texts
from clients.test_servers import serve
from patchkit.shapes import Run
from tests_ticket31997.patience import PATIENCE, wait_until

PARTIES = 10


@in_all_runs
def test_worker(
    run: Run, server: Mapping[str, str], database: psycopg.Connection
) -> None:
    with serve("gunicorn", environment(server, run), "clients.site.wsgi") as address:

        def meet(number: int) -> str:
            url = f"{address}/meet/{PARTIES}/{number}"
            response = httpx.get(url, trust_env=False, timeout=PATIENCE)
            return response.raise_for_status().text

        # One worker has all of them at the same time.
        with ThreadPoolExecutor(PARTIES) as executor:
            pids = set(executor.map(meet, range(PARTIES)))
        assert len(pids) == PARTIES
        wait_until(lambda: not backends(database))
    assert texts(database) == sorted(
        f"{number} {which}"
        for number in range(PARTIES)
        for which in ("first", "second")
    )


PROGRAM = """\
from gevent import monkey
monkey.patch_all()
import asyncio, gevent, gevent.event, json, django
django.setup()
from django.db import connection, connections
from django.db.transaction import atomic
from tests_ticket31997.models import Question

used = {}
entered = gevent.event.Event()
loop_runs = gevent.event.Event()
ended = gevent.event.Event()

def write(text):
    Question.objects.create(question_text=text)
    pids = used.setdefault(text.split()[0], [])
    pids.append(connection.connection.info.backend_pid)

def without_loop():
    with atomic():
        write("without first")
        entered.set()
        loop_runs.wait()
        write("without second")
    connections.close_all()

async def main():
    with atomic():
        write("loop first")
        loop_runs.set()
        # The loop's thread is everybody's meanwhile.
        while not ended.is_set():
            await asyncio.sleep(0.01)
        write("loop second")

def with_loop():
    with atomic():
        write("with first")
        asyncio.run(main())
        write("with second")
    connections.close_all()

without = gevent.spawn(without_loop)
entered.wait()
with_loop = gevent.spawn(with_loop)
without.get()
ended.set()
with_loop.get()
print(json.dumps([len({*used["without"]}), len({*used["with"], *used["loop"]})]))
"""


@in_all_runs
def test_event_loop(
    run: Run, server: Mapping[str, str], database: psycopg.Connection
) -> None:
    connections = tell(server, run, PROGRAM)
    rows = ["loop first", "loop second", "with first", "with second", "without second"]
    if run.scope == "thread":
        assert connections == [1, 1]
        assert texts(database) == sorted([*rows, "without first"])
    else:
        assert connections == [2, 2]
        assert texts(database) == rows
