"""The ticket's shapes in both scopes.

On unpatched Django the tests of the "context" scope pass, because that is how
it behaves, and those of the "thread" scope fail.
"""

import unittest

from django.db import connection
from django.test import TransactionTestCase, override_settings, tag

from tests_ticket31997.rewritten import REWRITTEN
from tests_ticket31997.shapes import SHAPES, measure

LOCKED = "database is locked"
INVISIBLE = "IntegrityError: rows invisible"
# Its foreign keys wait for the row of the other transaction.
WAITED = "Lock wait timeout exceeded"
# What is the same on both.
SERVERS = ("postgresql", "mysql")


@unittest.skipIf(
    connection.vendor == "sqlite" and connection.is_in_memory_db(),
    "A database in memory has no lock to conflict over: use "
    "--settings=tests_ticket31997.settings.sqlite.",
)
@unittest.skipUnless(
    connection.vendor in {"sqlite", *SERVERS},
    "What conflicts look like is known of MySQL, PostgreSQL and SQLite.",
)
class ShapeTestCase(TransactionTestCase):
    available_apps = ["tests_ticket31997"]

    def check(self, name, *, result, rows, connections, shared, left, rewritten=None):
        """Run a shape and compare all that it did.

        Args:
            name: a key of SHAPES.
            result: the words for it.
            rows: how many questions and choices it leaves.
            connections: how many it uses: as many backends on a server.
            shared: whether that is the connection of the thread's sync code.
            left: how many backends close_all() leaves on a server.
            rewritten: see measure().
        """
        outcome = measure(name, rewritten)
        on_server = connection.vendor in SERVERS
        self.assertEqual(
            (
                outcome.result,
                (outcome.questions, outcome.choices),
                outcome.connections,
                outcome.shared,
                outcome.backends,
                outcome.backends_left,
            ),
            (
                result,
                rows,
                connections,
                shared,
                connections if on_server else None,
                left if on_server else None,
            ),
        )


@override_settings(DATABASE_CONNECTION_SCOPE="context")
class ContextScopeTests(ShapeTestCase):
    """The default: the regression that the ticket reports."""

    def by_vendor(self, *, sqlite, postgresql, mysql=None):
        """Choose by the database; the servers do the same unless MySQL differs."""
        words = {"sqlite": sqlite, "mysql": mysql or postgresql}
        return words.get(connection.vendor, postgresql)

    def check_apart(self, name, *, left):
        """The loop's connections don't see the open transaction of sync code."""
        self.check(
            name,
            result=self.by_vendor(sqlite=LOCKED, postgresql=INVISIBLE, mysql=WAITED),
            rows=(0, 0),
            connections=1 + left,
            shared=False,
            left=left,
        )

    def test_async_atomic_gather(self):
        # Passes by accident: since asgiref 3.8 a task inherits the connections
        # of the context it is started from.
        self.check(
            "async_atomic_gather",
            result=self.by_vendor(sqlite="ok", postgresql="a connection stays open"),
            rows=(10, 90),
            connections=1,
            shared=False,
            left=1,
        )

    def test_sync_atomic_run(self):
        self.check_apart("sync_atomic_run", left=1)

    def test_gather_without_parent(self):
        self.check(
            "gather_without_parent",
            result="10 connections",
            rows=(10, 90),
            connections=10,
            shared=False,
            left=10,
        )

    def test_sync_atomic_gather(self):
        self.check_apart("sync_atomic_gather", left=10)

    def test_outer_rollback(self):
        self.check(
            "outer_rollback",
            result=self.by_vendor(
                sqlite=LOCKED, postgresql="rows outlive the rollback"
            ),
            rows=self.by_vendor(sqlite=(0, 0), postgresql=(10, 90)),
            connections=11,
            shared=False,
            left=10,
        )

    def test_running_loop(self):
        self.check_apart("running_loop", left=1)

    def test_inserts(self):
        # Each of the inserts commits by itself.
        self.check(
            "inserts",
            result="2 connections",
            rows=(1000, 0),
            connections=2,
            shared=False,
            left=1,
        )


@tag("thread")
@override_settings(DATABASE_CONNECTION_SCOPE="thread")
class ThreadScopeTests(ShapeTestCase):
    """Every shape passes, on one connection, and leaves none open."""

    def check_passes(self, name):
        shape = SHAPES[name]
        self.check(
            name,
            result="ok",
            rows=(shape.questions, shape.choices),
            connections=1,
            shared=True,
            left=0,
        )

    def test_async_atomic_gather(self):
        self.check_passes("async_atomic_gather")

    def test_sync_atomic_run(self):
        self.check_passes("sync_atomic_run")

    def test_gather_without_parent(self):
        self.check_passes("gather_without_parent")

    def test_sync_atomic_gather(self):
        self.check_passes("sync_atomic_gather")

    def test_outer_rollback(self):
        self.check_passes("outer_rollback")

    def test_running_loop(self):
        self.check_passes("running_loop")

    def test_inserts(self):
        self.check_passes("inserts")


class RewrittenTests(ShapeTestCase):
    """What async_to_sync() does for the shapes, with any Django and scope."""

    obstacles = {
        "async_atomic_gather": ("can't: a block in a coroutine", 0),
        "running_loop": ("can't: a loop is running", 1),
    }

    def test_each(self):
        self.assertEqual(list(REWRITTEN), list(SHAPES))
        for name, shape in SHAPES.items():
            rows = (shape.questions, shape.choices)
            result, connections = self.obstacles.get(name, ("ok", 1))
            with self.subTest(name):
                self.check(
                    name,
                    result=result,
                    rows=rows if result == "ok" else (0, 0),
                    connections=connections,
                    shared=True,
                    left=0,
                    rewritten=REWRITTEN[name],
                )

    def test_other_errors(self):
        def fail(recorder):
            raise RuntimeError("Something else")

        with self.assertRaisesMessage(RuntimeError, "Something else"):
            measure("inserts", fail)
