"""The benchmarks of one tree, for benchmarks/__main__.py to run."""

import asyncio
import functools
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator

import django
import pyperf
from django.conf import settings

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
        The time that took, in seconds.
    """
    iterator = itertools.repeat(None, loops)
    start = time.perf_counter()
    for _ in iterator:
        function()
    return time.perf_counter() - start


def on_loop() -> Iterator[tuple[str, Callable[[int], float]]]:
    """Yield the benchmark of the lookup of a connection on an event loop."""
    from django.db import connections

    async def main(loops: int) -> float:
        return timed(lambda: connections["default"], loops)

    yield f'lookup, loop, "{os.environ[SCOPE]}"', lambda loops: asyncio.run(main(loops))


def sync() -> Iterator[tuple[str, Callable[[int], float]]]:
    """Yield the benchmarks of sync code: the lookup, and ORM calls."""
    from django.core.management import call_command
    from django.db import connections
    from django.db.transaction import atomic

    from tests_ticket31997.models import Question

    local = threading.local()
    local.default = connections["default"]
    yield "lookup, floor", lambda loops: timed(lambda: local.default, loops)
    yield "lookup, sync", lambda loops: timed(lambda: connections["default"], loops)

    call_command("migrate", run_syncdb=True, verbosity=0)
    pk = Question.objects.create(question_text="?").pk

    def get() -> None:
        Question.objects.get(pk=pk)

    def update() -> None:
        Question.objects.filter(pk=pk).update(question_text="?")

    def create() -> None:
        with atomic():
            Question.objects.create(question_text="?")

    for function in (get, update, create):
        yield f"ORM, {function.__name__}", functools.partial(timed, function)


if __name__ == "__main__":
    configure()
    runner = pyperf.Runner()
    # The child processes have to be given what they were told by.
    runner.argparser.set_defaults(inherit_environ=[SCOPE, "PYTHONPATH"])
    for name, function in on_loop() if SCOPE in os.environ else sync():
        runner.bench_time_func(name, function)
