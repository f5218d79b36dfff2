"""What goes wrong outside of the program: an error, and then all is well again."""

import asyncio
import os
import signal
import threading
import traceback
import unittest
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from django.core.exceptions import SynchronousOnlyOperation
from django.db import (
    DatabaseError,
    Error,
    OperationalError,
    close_old_connections,
    connection,
    connections,
)
from django.db.transaction import atomic
from django.test import TransactionTestCase

from tests_ticket31997.backends import Backends, backend_id
from tests_ticket31997.models import Choice, Question
from tests_ticket31997.patience import PATIENCE, wait_until
from tests_ticket31997.utils import OnLoopMixin, needs_series, threads


@dataclass(frozen=True)
class Words:
    """A server's words for it.

    Attributes:
        terminate: SQL that ends a backend.
        sleep: SQL that takes some seconds.
        waiting: SQL that has a row if a backend waits for an event.
        sleeping: the event that sleep waits for.
        terminated: what a query says whose backend is ended.
    """

    terminate: str
    sleep: str
    waiting: str
    sleeping: str
    terminated: str


WORDS = {
    "postgresql": Words(
        "SELECT pg_terminate_backend(%s)",
        "SELECT pg_sleep(%s)",
        "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        " AND %s IN (wait_event, wait_event_type)",
        "PgSleep",
        "terminating connection",
    ),
    "mysql": Words(
        "KILL %s",
        "SELECT sleep(%s)",
        "SELECT 1 FROM information_schema.processlist WHERE id = %s AND state = %s",
        "User sleep",
        "Lost connection",
    ),
}


class FaultTestCase(OnLoopMixin, TransactionTestCase):
    available_apps = ["tests_ticket31997"]

    def create(self, text):
        Question.objects.create(question_text=text)

    def assertTexts(self, *texts):
        rows = Question.objects.order_by("pk").values_list("question_text", flat=True)
        self.assertEqual(list(rows), list(texts))

    def assertWorksAgain(self):
        """The next task reads and writes, in a block and out of it."""

        async def task():
            self.create("outside")
            with atomic():
                self.create("inside")

        before = list(Question.objects.values_list("question_text", flat=True))
        asyncio.run(task())
        self.assertTexts(*before, "outside", "inside")
        self.assertIs(connection.in_atomic_block, False)
        self.assertEqual(connection.savepoint_ids, [])
        self.assertEqual(connection.atomic_blocks, [])
        self.assertIs(connection.get_autocommit(), True)


class ServerFaultTestCase(FaultTestCase):
    def setUp(self):
        super().setUp()
        self.words = WORDS[connection.vendor]
        connection.ensure_connection()
        # Of its own, and in no scope: for looking, and for the faults.
        self.monitor = connection.copy()
        self.monitor.connect()
        self.addCleanup(self.monitor.close)
        self.backends = self.enterContext(Backends())

    def monitor_execute(self, sql, params=None):
        # The driver's, as Django's wrapper is bound to the test's thread.
        with self.monitor.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else None

    def terminate(self):
        """End the backend of the thread's connection, and wait for that."""
        backend = backend_id(connection.connection)
        self.monitor_execute(self.words.terminate, [backend])
        wait_until(lambda: backend not in self.backends.ids())

    def assertNoLeak(self):
        connections.close_all()
        self.assertEqual(self.backends.count_without_closed([]), 0)

    def wait_until_waiting(self, backend, event):
        """Wait until a backend waits for something, by its name or its type."""

        def is_waiting():
            cursor.execute(self.words.waiting, [backend, event])
            return cursor.fetchone()

        with self.backends.monitor.connection.cursor() as cursor:
            wait_until(is_waiting)

    def sleep(self):
        """Execute a query that takes longer than anybody waits for it."""
        with connection.cursor() as cursor:
            cursor.execute(self.words.sleep, [2 * PATIENCE])


@needs_series
@unittest.skipUnless(connection.vendor in WORDS, "For databases with a server.")
class ServerFaultTests(ServerFaultTestCase):
    def test_terminated_between_tasks(self):
        async def task():
            self.create("task")

        asyncio.run(task())
        self.terminate()
        with self.assertRaises(OperationalError):
            asyncio.run(task())
        # What Django does between requests, and Celery between jobs.
        close_old_connections()
        self.assertTexts("task")
        self.assertWorksAgain()
        self.assertNoLeak()

    def test_terminated_in_query(self):
        async def task():
            self.sleep()

        backend = backend_id(connection.connection)

        def terminate():
            self.wait_until_waiting(backend, self.words.sleeping)
            self.monitor_execute(self.words.terminate, [backend])

        error = self.assertRaisesMessage(OperationalError, self.words.terminated)
        with error, threads(terminate):
            asyncio.run(task())
        close_old_connections()
        self.assertWorksAgain()
        self.assertNoLeak()

    def test_terminated_in_block(self):
        """The owner gets an error, and waiting tasks aren't in its way."""

        async def owner(begun, resume):
            with atomic():
                self.create("lost")
                begun.set()
                await resume.wait()
                self.create("not reached")

        async def main():
            begun, resume = asyncio.Event(), asyncio.Event()
            task = asyncio.create_task(owner(begun, resume))
            await begun.wait()
            self.terminate()
            # Refused before any SQL: it doesn't notice.
            with self.assertRaises(SynchronousOnlyOperation):
                self.create("foreign")
            resume.set()
            with self.assertRaises(OperationalError):
                await task
            # Django has closed the connection at the end of the block.
            self.create("next")

        asyncio.run(asyncio.wait_for(main(), PATIENCE))
        self.assertTexts("next")
        self.assertWorksAgain()
        self.assertNoLeak()

    def test_terminated_before_commit(self):
        async def main():
            with self.assertRaises(OperationalError), atomic():
                self.create("lost")
                self.terminate()

        asyncio.run(main())
        self.assertTexts()
        self.assertWorksAgain()
        self.assertNoLeak()

    def test_terminated_in_inner_block(self):
        async def inner():
            with atomic():
                self.create("lost too")
                self.terminate()
                self.create("not reached")

        async def main():
            with self.assertRaises(Error), atomic():
                self.create("lost")
                await asyncio.create_task(inner())

        asyncio.run(main())
        self.assertTexts()
        self.assertWorksAgain()
        self.assertNoLeak()

    def test_fork(self):
        """Closed before the fork, as Django wants it, each side has its own."""

        async def task(text):
            with atomic():
                self.create(text)
                await asyncio.sleep(0)

        asyncio.run(task("before"))
        connections.close_all()
        if not (child := os.fork()):
            status = 1
            try:
                # So that it ends, whatever it hangs on.
                signal.alarm(PATIENCE)
                asyncio.run(task("child"))
                connections.close_all()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        asyncio.run(task("parent"))
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        texts = Question.objects.values_list("question_text", flat=True)
        self.assertEqual(set(texts), {"before", "child", "parent"})
        self.assertNoLeak()


@needs_series
@unittest.skipUnless(connection.vendor == "postgresql", "For PostgreSQL.")
class PostgreSQLFaultTests(ServerFaultTestCase):
    def test_statement_timeout(self):
        async def main():
            error = self.assertRaisesMessage(OperationalError, "statement timeout")
            with error, atomic():
                self.create("lost")
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL statement_timeout = 50")
                self.sleep()

        asyncio.run(main())
        self.assertTexts()
        self.assertWorksAgain()
        self.assertNoLeak()

    def test_deadlock(self):
        self.create("one")
        self.create("other")
        lock = (
            "SELECT * FROM tests_ticket31997_question"
            " WHERE question_text = %s FOR UPDATE"
        )
        with connection.cursor() as cursor:
            # It's this side that finds the deadlock.
            cursor.execute("SET deadlock_timeout = '10ms'")

        locked = threading.Event()

        def other_side():
            self.assertIs(locked.wait(PATIENCE), True)
            # It's granted when this side has rolled back.
            self.monitor_execute(lock, ["one"])
            self.monitor_execute("ROLLBACK")

        async def main():
            with atomic():
                self.create("lost")
                with connection.cursor() as cursor:
                    cursor.execute(lock, ["one"])
                    locked.set()
                    self.wait_until_waiting(other, "Lock")
                    cursor.execute(lock, ["other"])

        other = backend_id(self.monitor.connection)
        self.monitor_execute("SET deadlock_timeout = '1h'")
        self.monitor_execute("BEGIN")
        self.monitor_execute(lock, ["other"])
        error = self.assertRaisesMessage(OperationalError, "deadlock detected")
        with error, threads(other_side):
            asyncio.run(main())
        self.assertTexts("one", "other")
        self.assertWorksAgain()
        self.assertNoLeak()

    def test_pool_exhausted(self):
        """A pool that is empty is an error; in "thread" one connection is enough."""
        pool = {"min_size": 0, "max_size": 1, "timeout": PATIENCE}
        settings = connections.settings["default"]
        options = {**settings["OPTIONS"], "pool": pool}
        connections.close_all()
        with mock.patch.dict(settings, {"OPTIONS": options, "CONN_MAX_AGE": 0}):
            wrapper = connections.create_connection("default")

            async def task(number):
                with atomic():
                    self.create(f"task {number}")
                await asyncio.sleep(0)

            async def main():
                await asyncio.gather(*map(task, range(5)))

            with self.replaced(wrapper):
                try:
                    asyncio.run(main())
                    self.assertEqual(Question.objects.count(), 5)
                    other = connections.create_connection("default")
                    # This thread has the one connection, so it waits in vain.
                    in_vain = mock.patch.object(wrapper.pool, "timeout", 0.2)
                    error = self.assertRaisesMessage(
                        OperationalError, "couldn't get a connection after 0.20 sec"
                    )
                    with in_vain, error:
                        other.ensure_connection()
                    # It's the one connection that the pool has to give.
                    connection.close()
                    other.ensure_connection()
                    other.close()
                    self.assertWorksAgain()
                finally:
                    connection.close()
                    wrapper.close_pool()

    @contextmanager
    def replaced(self, wrapper):
        """Make another one the thread's connection for a while."""
        own = connections["default"]
        connections["default"] = wrapper
        try:
            yield
        finally:
            connections["default"] = own


@needs_series
class InterruptTests(FaultTestCase):
    """In the program, from outside of it."""

    def test_keyboard_interrupt(self):
        """At each of the places where a task gives way, and inside queries."""

        async def other():
            while True:
                await asyncio.sleep(0)

        for place in range(5):
            with self.subTest(place=place):

                async def main(place=place):
                    places = iter(range(5))

                    def here():
                        if next(places) == place:
                            raise KeyboardInterrupt

                    task = asyncio.create_task(other())
                    here()
                    with atomic():
                        self.create("lost")
                        here()
                        await asyncio.sleep(0)
                        here()
                        with atomic():
                            self.create("lost too")
                            here()
                            await asyncio.sleep(0)
                            here()
                    task.cancel()

                with self.assertRaises(KeyboardInterrupt):
                    asyncio.run(main())
                self.assertTexts()
                self.assertWorksAgain()
                Question.objects.all().delete()

    def test_interrupted_in_query(self):
        """In the middle of a query, as a signal handler does it."""

        def interrupt(execute, sql, params, many, context):
            execute(sql, params, many, context)
            raise KeyboardInterrupt

        async def main():
            with atomic():
                self.create("lost")
                with connection.execute_wrapper(interrupt):
                    self.create("lost too")

        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(main())
        self.assertTexts()
        self.assertWorksAgain()


@needs_series
@unittest.skipUnless(connection.vendor == "sqlite", "For SQLite.")
class SQLiteFaultTests(FaultTestCase):
    def test_disk_full(self):
        question = Question.objects.create(question_text="before")
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA page_count")
            (pages,) = cursor.fetchone()
            cursor.execute(f"PRAGMA max_page_count = {pages + 5}")

        def restore():
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA max_page_count = 1073741823")

        self.addCleanup(restore)

        async def task(number):
            await asyncio.sleep(0)
            with atomic():
                for _ in range(100):
                    text = f"{number}" * 200
                    Choice.objects.create(question=question, choice_text=text)

        async def main():
            tasks = map(task, range(5))
            return await asyncio.gather(*tasks, return_exceptions=True)

        results = asyncio.run(main())
        # The first ones fit, those after them don't; each has all rows or none.
        self.assertIsInstance(results[-1], DatabaseError)
        self.assertEqual(str(results[-1]), "database or disk is full")
        for number, result in enumerate(results):
            rows = Choice.objects.filter(choice_text=f"{number}" * 200).count()
            self.assertEqual(rows, 100 if result is None else 0)
        restore()
        self.assertWorksAgain()
