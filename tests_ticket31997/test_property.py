"""Random schedules against what tasks were told of their writes.

`make fuzz` runs more examples, and other ones each time; `make fuzz ALL=1` runs all
of the small programs in all of their interleavings.
"""

import itertools
import logging
import os
import sys
import threading
import unittest
from unittest import mock

from django.conf import global_settings
from django.db import connection, connections
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase, override_settings
from hypothesis import HealthCheck, Phase, find, given, note, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from tests_ticket31997.schedules import ALIASES, BLOCKS, WAITS, Op, run

EXAMPLES = int(os.environ.get("TICKET31997_EXAMPLES") or 300)
ALL = os.environ.get("TICKET31997_ALL")
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

# Operations, how often they are used, and their variants.
LEAVES = {
    "write": (4, ["create", "bulk", "vendor"]),
    "read": (2, [""]),
    "wait": (5, [""]),
    "fail": (1, [""]),
    "set rollback": (1, [""]),
    "close": (1, ["", "old"]),
    "open": (1, ["atomic", "no savepoint"]),
    "end": (1, ["", "fail"]),
}
NESTED = {
    "block": (5, [*BLOCKS]),
    "savepoint": (1, ["commit", "rollback"]),
    "iterate": (1, ["iterator", "fetchone", "iter"]),
    "manual": (1, ["commit", "rollback"]),
    "on commit": (1, ["plain", "fails", "robust", "robust fails", "eager"]),
    "start": (
        3,
        ["", "eager", "group", "new context", "one context", "own context", *WAITS],
    ),
    "send": (1, [""]),
    "timeout": (1, [""]),
    "call": (2, ["soon", "soon, new context", "beside", "beside, new context"]),
    "isolated": (1, ["", "request"]),
}
LANGUAGE = LEAVES | NESTED
# Sync code, in which a loop runs to the end or until the schedule has it pause.
RUN = {"run": (4, ["", "to the end"])}
SYNC = {"on commit": (1, ["plain", "robust"])} | {
    name: LANGUAGE[name]
    for name in (*LEAVES, "set rollback", "block", "savepoint", "manual")
    if name not in {"wait", "open"}
}


def bodies(language, nested, tasks, aliases):
    """Return a strategy for bodies of operations.

    Args:
        language: the operations.
        nested: a strategy for the bodies in them.
        tasks: a strategy for the bodies of the tasks that they start together.
        aliases: of the connections, each as often as it is there.
    """
    names = [name for name, (times, _) in language.items() for _ in range(times)]
    several = st.lists(tasks, min_size=2, max_size=3).map(tuple)

    @st.composite
    def operations(draw):
        # By a name, as st.one_of() has each of its choices once.
        name = draw(st.sampled_from(names))
        within = several if name in {"send", "run"} else nested
        return Op(
            name,
            draw(st.sampled_from(language[name][1])),
            () if name in LEAVES else draw(within),
            draw(st.sampled_from(aliases)),
            draw(st.booleans()),
        )

    return st.lists(operations(), max_size=5).map(tuple)


def programs(language=LANGUAGE, sync=SYNC, aliases=("default",) * 4 + ("other",)):
    """Return a strategy for programs: sync code, tasks, and sync code again."""
    task = code = st.just(())
    leaves = {name: value for name, value in language.items() if name in LEAVES}
    for words in (leaves, language, language):
        task = bodies(words, task, task, aliases)
    for words in (sync | RUN, sync | RUN) if sync else ():
        code = bodies(words, code, task, aliases)
    tasks = st.lists(task, min_size=2, max_size=4).map(tuple)
    loop = st.builds(
        Op,
        st.just("run"),
        st.sampled_from(RUN["run"][1]),
        tasks,
        st.just(ALIASES[0]),
        st.booleans(),
    )
    return st.builds(lambda before, op, after: (*before, op, *after), code, loop, code)


schedules = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["go on"] * 6 + ["cancel", "pause"])),
    max_size=30,
)


def speed_up(connection, **kwargs):
    """What is in the file after a power failure isn't what this is about."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.execute("PRAGMA journal_mode = MEMORY")


@unittest.skipUnless(
    connection.vendor in {"mysql", "postgresql", "sqlite"}, "Three kinds are enough."
)
class ScheduleTestCase(TransactionTestCase):
    available_apps = ["tests_ticket31997"]
    databases = {"default", "other"}

    def setUp(self):
        unsafe = {"DJANGO_ALLOW_ASYNC_UNSAFE": "true"}
        self.enterContext(mock.patch.dict(os.environ, unsafe))
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)
        connections.close_all()
        connection_created.connect(speed_up)
        self.addCleanup(connection_created.disconnect, speed_up)
        self.addCleanup(connections.close_all)


@unittest.skipUnless(
    hasattr(global_settings, "DATABASE_CONNECTION_SCOPE"), "Needs the setting."
)
@override_settings(DATABASE_CONNECTION_SCOPE="thread")
class OwnershipTests(ScheduleTestCase):
    def check(self, program, schedule):
        verdict = run(program, schedule)
        note(str(verdict))
        self.assertEqual(verdict.wrong, ())
        self.assertEqual(verdict.lost, frozenset())
        self.assertEqual(verdict.phantom, frozenset())
        self.assertEqual(verdict.dirty, ())
        return verdict

    def test_all_are_told_what_is(self):
        # Not as a decorator: run() has its own way of beginning with empty
        # tables, which is much faster than a fixture per example.
        @quietly
        @given(program=programs(), schedule=schedules)
        def check(program, schedule):
            self.check(program, schedule)

        check()
