"""Random schedules against what tasks were told of their writes.

`make fuzz` runs more examples, and other ones each time.
"""

import os
import threading
import unittest
from unittest import mock

from django.conf import global_settings
from django.db import connection, connections
from django.test import TransactionTestCase, override_settings
from hypothesis import HealthCheck, Phase, find, given, note, settings
from hypothesis import strategies as st

from tests_ticket31997.schedules import Await, Block, Raise, Spawn, Write, run

EXAMPLES = int(os.environ.get("TICKET31997_EXAMPLES") or 300)
# How many examples it may take to find that plain sharing loses writes.
BUDGET = 2000

quietly = settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    # The same examples each time, unless more of them are asked for.
    derandomize="TICKET31997_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def bodies(depth: int = 3, *, awaits: bool = True, inside: bool = False):
    """Return a strategy for the operations of a task or of a block.

    Args:
        depth: how deep blocks and tasks may be nested.
        awaits: whether tasks may await inside their blocks.
        inside: whether the operations are inside a block.

    Returns:
        A strategy for tuples of operations.
    """
    choices = [st.just(Write())] * 3 + [st.just(Raise())]
    may_await = awaits or not inside
    if may_await:
        choices += [st.just(Await())] * 2
    if depth:
        nested = bodies(depth - 1, awaits=awaits, inside=True)
        choices += [st.builds(Block, nested, st.booleans(), st.booleans())] * 2
        # Outside of its parent's block only as far as awaiting is concerned: a
        # task that is started in a block has that block open to the end of it.
        task = bodies(depth - 1, awaits=awaits, inside=inside)
        waits = st.booleans() if may_await else st.just(False)
        choices.append(st.builds(Spawn, task, waits))
    return st.lists(st.one_of(choices), max_size=5).map(tuple)


def programs(**kwargs):
    """Return a strategy for programs: see bodies()."""
    return st.lists(bodies(**kwargs), min_size=2, max_size=4).map(tuple)


schedules = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([False] * 7 + [True])), max_size=30
)


@unittest.skipUnless(
    connection.vendor in {"mysql", "postgresql", "sqlite"}, "Three kinds are enough."
)
class ScheduleTestCase(TransactionTestCase):
    available_apps = ["tests_ticket31997"]

    def setUp(self):
        unsafe = {"DJANGO_ALLOW_ASYNC_UNSAFE": "true"}
        self.enterContext(mock.patch.dict(os.environ, unsafe))


@unittest.skipUnless(
    hasattr(global_settings, "DATABASE_CONNECTION_SCOPE"), "Needs the setting."
)
@override_settings(DATABASE_CONNECTION_SCOPE="thread")
class OwnershipTests(ScheduleTestCase):
    def check(self, program, schedule):
        verdict = run(program, schedule)
        note(str(verdict))
        self.assertEqual(verdict.lost, frozenset())
        self.assertEqual(verdict.phantom, frozenset())
        self.assertEqual(verdict.unclean, ())
        return verdict

    def check_all(self, strategy, check):
        # Not as a decorator of the tests: run() has its own way of beginning
        # with empty tables, which is much faster than a fixture per example.
        quietly(given(program=strategy, schedule=schedules)(check))()

    def test_no_write_is_lost_or_comes_back(self):
        def check(program, schedule):
            self.check(program, schedule)

        self.check_all(programs(), check)

    def test_no_refusal_unless_a_task_awaits_in_its_block(self):
        def check(program, schedule):
            self.assertEqual(self.check(program, schedule).refusals, 0)

        self.check_all(programs(awaits=False), check)


@override_settings(DATABASE_CONNECTION_SCOPE="context")
class PlainSharingTests(ScheduleTestCase):
    """Connections in a threading.local, as in the ticket's workarounds."""

    def setUp(self):
        super().setUp()
        storage = connections._connections
        self.addCleanup(setattr, connections, "_connections", storage)
        connections._connections = threading.local()
        self.addCleanup(connections.close_all)

    def find(self, condition):
        return find(
            st.tuples(programs(), schedules),
            lambda example: condition(run(*example)),
            settings=settings(
                quietly,
                max_examples=BUDGET,
                derandomize=True,
                # Any loss will do; the smallest takes a while to find.
                phases=[Phase.generate],
            ),
        )

    def test_writes_are_lost(self):
        program, schedule = self.find(lambda verdict: verdict.lost)
        self.assertTrue(run(program, schedule).lost)

    def test_writes_come_back(self):
        program, schedule = self.find(lambda verdict: verdict.phantom)
        self.assertTrue(run(program, schedule).phantom)
