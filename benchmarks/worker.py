"""The benchmarks of one tree, for benchmarks/compare.py to run."""

import asyncio
import functools
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator

import django
import pyperf
from django.conf import global_settings, settings

from benchmarks import SCOPE


def configure() -> None:
    """Set Django up with a SQLite database in memory."""
    settings.configure(
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        },
        DATABASE_CONNECTION_SCOPE=os.environ.get(SCOPE, "context"),
        INSTALLED_APPS=["tests_ticket31997"],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    django.setup()


def timed(function: Callable[[], object], loops: int) -> float:
    """Call a function again and again.

    Args:
        function: without arguments.
        loops: how many times.

    Returns:
        The processor's time that took, in seconds: it doesn't count what other
        programs do meanwhile.
    """
    iterator = itertools.repeat(None, loops)
    start = time.process_time()
    for _ in iterator:
        function()
    return time.process_time() - start


def calls() -> Iterator[tuple[str, Callable[[], None]]]:
    """Make a table; yield the ORM calls to measure."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.transaction import atomic

    from tests_ticket31997.models import Question

    call_command("migrate", run_syncdb=True, verbosity=0)
    pk = Question.objects.create(question_text="?").pk
    Question.objects.bulk_create(Question(question_text="?") for _ in range(999))

    def get() -> None:
        Question.objects.get(pk=pk)

    def update() -> None:
        Question.objects.filter(pk=pk).update(question_text="?")

    def create() -> None:
        with atomic():
            Question.objects.create(question_text="?")

    def nested() -> None:
        with atomic(), atomic():
            pass

    def rows() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT id FROM {Question._meta.db_table} LIMIT 1000")
            for _ in cursor:
                pass

    yield "get", get
    yield "update", update
    yield "create in a block", create
    yield "two nested blocks", nested
    yield "1,000 rows of a cursor", rows


def on_loop() -> Iterator[tuple[str, Callable[[int], float]]]:
    """Yield the benchmarks of code on an event loop."""
    from django.db import connections

    def measured(function: Callable[[], object]) -> Callable[[int], float]:
        async def main(loops: int) -> float:
            return timed(function, loops)

        return lambda loops: asyncio.run(main(loops))

    scope = os.environ[SCOPE]
    yield f'lookup, loop, "{scope}"', measured(lambda: connections["default"])
    if scope == "thread":
        # The table of a database in memory is on the connection of sync code.
        # Unpatched Django shares that in the way of the ticket's workaround.
        if not hasattr(global_settings, "DATABASE_CONNECTION_SCOPE"):
            connections._connections = threading.local()
        for name, function in calls():
            yield f'ORM, {name}, loop, "thread"', measured(function)


def sync() -> Iterator[tuple[str, Callable[[int], float]]]:
    """Yield the benchmarks of sync code: the lookup, and ORM calls."""
    from django.db import connections

    local = threading.local()
    local.default = connections["default"]
    yield "lookup, floor", lambda loops: timed(lambda: local.default, loops)
    yield "lookup, sync", lambda loops: timed(lambda: connections["default"], loops)
    for name, function in calls():
        yield f"ORM, {name}", functools.partial(timed, function)


if __name__ == "__main__":
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    configure()
    runner = pyperf.Runner()
    # The child processes have to be given what they were told by.
    runner.argparser.set_defaults(inherit_environ=[SCOPE, "PYTHONPATH"])
    for name, function in on_loop() if SCOPE in os.environ else sync():
        runner.bench_time_func(name, function)
