"""One fan-out: many root tasks, each with a small transaction on PostgreSQL.

    python fanout.py MODE TASKS

prints a line of JSON. benchmarks/compare.py says which Django is on the path, and
runs it in the environment of Django 2.2 too: Python 3.8 is enough for it.
"""

import asyncio
import contextvars
import json
import os
import resource
import sys
import time


def configure(mode):
    """Set Django up for the database that libpq's variables name."""
    import django
    from django.conf import settings

    peer = mode == "peer"
    backend = "django_async_backend" if peer else "django"
    database = {
        "ENGINE": backend + ".db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 10}} if peer else {},
    }
    settings.configure(
        DATABASES={"default": database},
        DATABASE_CONNECTION_SCOPE="context" if mode == "context" else "thread",
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=["tests_ticket31997"] + ["django_async_backend"] * peer,
        USE_TZ=False,
    )
    django.setup()


def django_transaction(pids):
    """Return the transaction, for sync code or for an event loop."""
    from django.db import connection
    from django.db.transaction import atomic

    from tests_ticket31997.models import Question

    def transaction(number):
        with atomic():
            pk = Question.objects.create(question_text=str(number)).pk
            Question.objects.get(pk=pk)
            pids.add(connection.connection.info.backend_pid)

    return transaction


def on_loop(pids):
    """Return a task that calls the synchronous API on the event loop."""
    transaction = django_transaction(pids)

    async def task(number):
        await asyncio.sleep(0)
        transaction(number)

    return task


def in_thread(pids):
    """Return a task as users are told to write it today."""
    from asgiref.sync import sync_to_async

    return sync_to_async(django_transaction(pids))


def raw(pids):
    """Return a task without Django: the floor."""
    import psycopg

    connection = psycopg.connect(autocommit=True)
    table = "tests_ticket31997_question"

    async def task(number):
        await asyncio.sleep(0)
        with connection.transaction():
            sql = f"INSERT INTO {table} (question_text) VALUES (%s) RETURNING id"
            (pk,) = connection.execute(sql, [str(number)]).fetchone()
            sql = f"SELECT id, question_text FROM {table} WHERE id = %s"
            connection.execute(sql, [pk]).fetchone()
            pids.add(connection.info.backend_pid)

    return task


def peer(pids):
    """Return a task of django-async-backend: a connection of a pool's."""
    from django.db import models
    from django_async_backend.db import async_connections
    from django_async_backend.db.models.base import AsyncModelMixin
    from django_async_backend.db.transaction import async_atomic

    class Question(AsyncModelMixin, models.Model):
        question_text = models.CharField(max_length=200)

        class Meta:
            app_label = "peer"
            db_table = "tests_ticket31997_question"

    async def task(number):
        connection = async_connections["default"]
        try:
            async with async_atomic():
                row = await Question.async_objects.acreate(question_text=str(number))
                await Question.async_objects.aget(pk=row.pk)
                pids.add(connection.connection.info.backend_pid)
        finally:
            await connection.close()

    return task


async def run(task, count):
    """Run root tasks, and none in a context that has a connection.

    Args:
        task: the coroutine function.
        count: how many.

    Returns:
        The exceptions that they raised.
    """
    results = await asyncio.gather(*map(task, range(count)), return_exceptions=True)
    return [result for result in results if isinstance(result, BaseException)]


def main(mode, count):
    """Measure; return what there is to say."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    pids = set()
    if mode != "raw":
        configure(mode)
    factory = {"sync_to_async": in_thread, "raw": raw, "peer": peer}
    task = factory.get(mode, on_loop)(pids)
    # What is done once, imports for example, is not the tasks'.
    contextvars.Context().run(asyncio.run, run(task, 1))
    pids.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    errors = contextvars.Context().run(asyncio.run, run(task, count))
    seconds = time.perf_counter() - start
    return {
        "mode": mode,
        "tasks": count,
        "seconds": seconds,
        "connections": len(pids),
        "errors": len(errors),
        "error": str(errors[0]).strip().splitlines()[-1] if errors else "",
        "memory_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
