"""Random schedules against what tasks were told of their writes.

`make fuzz` runs more examples, and other ones each time; `make fuzz ALL=1` runs all
of the small programs in all of their interleavings.
"""

import functools
import itertools
import logging
import os
import re
import sys
import threading
import unittest
from unittest import mock

from django.conf import global_settings
from django.conf import settings as django_settings
from django.db import connection, connections
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase, override_settings
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from tests_ticket31997.models import Question
from tests_ticket31997.schedules import (
    ALIASES,
    BLOCKS,
    ENDINGS,
    ITERATIONS,
    READS,
    THERE,
    WAITS,
    WRITES,
    Op,
    run,
)

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
    "write": (4, [*WRITES]),
    "read": (2, [*READS]),
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
    "iterate": (1, [*ITERATIONS]),
    "manual": (1, ["commit", "rollback"]),
    "on commit": (1, ["plain", "fails", "robust", "robust fails", "eager", "opens"]),
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
CORE = {name: LANGUAGE[name] for name in ("write", "read", "wait", "block", "start")}
REST = [name for name in LANGUAGE if name not in CORE]
# Sync code, in which a loop runs to the end or until the schedule has it pause.
RUN = {"run": (4, ["", "to the end"])}
SYNC = {"on commit": (1, ["plain", "robust"])} | {
    name: LANGUAGE[name]
    for name in (*LEAVES, "set rollback", "block", "savepoint", "manual")
    if name not in {"wait", "open"}
}


def bodies(language, nested, tasks, aliases, size=4):
    """Return a strategy for bodies of operations.

    Args:
        language: the operations.
        nested: a strategy for the bodies in them.
        tasks: a strategy for the bodies of the tasks that they start together.
        aliases: of the connections, each as often as it is there.
        size: how many operations a body has at most.
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

    return st.lists(operations(), min_size=1, max_size=size).map(tuple)


def programs(
    language=LANGUAGE, roots=None, sync=SYNC, aliases=ALIASES[:1] * 4 + ALIASES
):
    """Return a strategy for programs: sync code, tasks, and sync code again.

    Args:
        language: the operations of tasks.
        roots: those of the tasks that sync code starts, one in each, if they are
            others.
        sync: those of sync code, which always has runs of a loop.
        aliases: see bodies().
    """
    code = st.just(())
    task = st.just((Op("write", "create", alias=aliases[0]),))
    leaves = {name: value for name, value in language.items() if name in LEAVES}
    leaves |= {"block": (1, language["block"][1])} if "block" in language else {}
    for words in (leaves, language):
        task = bodies(words, task, task, aliases)
    task = bodies(roots or language, task, task, aliases, size=1 if roots else 4)
    for words in (sync | RUN, sync | RUN) if sync is not None else ():
        code = bodies(words, code, task, aliases)
    loop = bodies(RUN, code, task, aliases).map(lambda runs: runs[:1])
    return st.builds(lambda *parts: sum(parts, ()), code, loop, code)


def lists_of_steps(*actions):
    """Return a strategy for schedules, of what happens to which task."""
    return st.lists(st.tuples(st.integers(0, 5), st.sampled_from(actions)), max_size=30)


schedules = lists_of_steps(*["go on"] * 6, "cancel", "pause")


def speed_up(connection, **kwargs):
    """What is in the file after a power failure isn't what this is about."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.execute("PRAGMA journal_mode = MEMORY")


@unittest.skipUnless(
    connection.vendor in {"mysql", "postgresql", "sqlite"}, "Three kinds are enough."
)
@unittest.skipUnless(
    django_settings.DATABASE_CONNECTION_SCOPE == "thread", "Not in each of the scopes."
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
        for alias in ALIASES:
            Question.objects.using(alias).create(question_text=THERE)


@unittest.skipUnless(
    hasattr(global_settings, "DATABASE_CONNECTION_SCOPE"), "Needs the setting."
)
@override_settings(DATABASE_CONNECTION_SCOPE="thread")
class OwnershipTestCase(ScheduleTestCase):
    def check(self, program, verdict):
        if verdict.wrong or verdict.loses:
            self.fail(f"{program}\n{verdict}")


class OwnershipTests(OwnershipTestCase):
    # A few kinds of operations by themselves get at each other more often.
    languages = [
        CORE | {name: LANGUAGE[name] for name in {REST[n], REST[n - 1], REST[n - 5]}}
        for n in range(len(REST))
    ]
    programs = st.one_of(programs(), *map(programs, languages))

    def test_all_are_told_what_is(self):
        # Not as a decorator: run() has its own way of beginning with empty
        # tables, which is much faster than a fixture per example.
        @quietly
        @given(program=self.programs, schedule=schedules)
        def check(program, schedule):
            verdict = run(program, schedule)
            self.check(program, verdict)
            endings.update(verdict.endings)

        endings = set()
        check()
        if EXAMPLES >= 1000:
            self.assertEqual(endings, ENDINGS)


# One operation a letter, each after a wait. What isn't ended ends normally.
LETTERS = {
    "W": (Op("write", "execute"), Op("read", "cursor")),
    "S": (Op("set rollback"),),
    "H": (Op("on commit", "plain"),),
    "C": (Op("close"),),
    "O": (Op("open", "atomic"),),
    "E": (Op("end"),),
}
WAIT = Op("wait")


def spell(word, is_inside=False):
    """Return the operations of a word, and the letters after the end of a block.

    Besides LETTERS, "(" begins a block, ")" ends it, "!" has it fail, and ">" starts a
    task that does the rest.
    """
    body = ()
    while word:
        letter, word = word[0], word[1:]
        body += (WAIT,)
        if letter in ")!":
            return body + (Op("fail"),) * (letter == "!"), word
        if letter == "(":
            inner, word = spell(word, is_inside=True)
            body += (Op("block", "atomic", inner, catch=True),)
        elif letter == ">":
            body += (Op("start", "", spell(word)[0]),)
            word = ""
        else:
            body += LETTERS[letter]
    return body + (WAIT,) * is_inside, ""


def words(alphabet, size):
    """Yield the words of at most that many letters where only blocks are ended."""
    for repeat in range(1, size + 1):
        for letters in itertools.product(alphabet, repeat=repeat):
            depths = [0]
            for letter in letters:
                block = {"(": 1, ")": -1, "!": -1}.get(letter, 0)
                depths.append(0 if letter == ">" else depths[-1] + block)
            if min(depths) == 0 and letters[-1] != ">":
                yield "".join(letters)


def interleavings(program):
    """Yield the verdicts on all schedules of a program, one after the other."""
    schedule = []
    while True:
        verdict = run(program, [(number, "go on") for number in schedule])
        yield verdict
        steps = [*verdict.steps]
        while steps and steps[-1][0] + 1 == steps[-1][1]:
            steps.pop()
        if not steps:
            return
        schedule = [number for number, _ in steps]
        schedule[-1] += 1


class SmallProgramsTests(OwnershipTestCase):
    """All programs of some words, in all of their interleavings."""

    def enumerate(self, alphabet, size, tasks):
        """Check those of a number of tasks that have a transaction.

        Args:
            alphabet: the letters of the words.
            size: how many letters a task has at most.
            tasks: how many there are. Their order makes no difference.
        """
        bags = itertools.combinations_with_replacement(words(alphabet, size), tasks)
        bags = [bag for bag in bags if {"(", "O"} & set("".join(bag))]
        runs = 0
        for number, bag in enumerate(bags):
            if ALL and number % (len(bags) // 20 + 1) == 0:
                print(f"{alphabet}: {number} of {len(bags)} programs", file=sys.stderr)
            bodies = tuple(spell(word)[0] for word in bag)
            for verdict in interleavings((Op("run", "to the end", bodies),)):
                self.check(bag, verdict)
                runs += 1
        if ALL:
            print(
                f"{tasks} tasks of up to {size} of {alphabet}: {len(bags):,} programs, "
                f"{runs:,} interleavings, no violation",
                file=sys.stderr,
            )

    def test_some(self):
        self.enumerate("W(!>CO", 2, 2)


needs_all = unittest.skipUnless(ALL, "It takes minutes: make fuzz ALL=1")


@needs_all
class TwoTasksTests(SmallProgramsTests):
    def test_some(self):
        self.enumerate("W()!>COE", 3, 2)


@needs_all
class ThreeTasksTests(SmallProgramsTests):
    def test_some(self):
        self.enumerate("W(!>OE", 2, 3)


def some(names, **variants):
    """Return the operations of those names, with these variants if they are given."""
    times = {name: LANGUAGE[name] for name in names.split(", ") if name}
    variants = {name.replace("_", " "): hows for name, hows in variants.items()}
    return times | {name: (3, hows) for name, hows in variants.items()}


# What plain sharing loses by, each with as little else as it takes. Nothing fails
# or is cancelled where that would do.
BASE = some("write, wait, fail", block=["atomic"])
VARIANTS = {
    "atomic()": {"block": ["atomic"]},
    "atomic(durable=True)": {"block": ["durable"]},
    "atomic(savepoint=False)": {"block": ["no savepoint"]},
    "one Atomic instance": {"block": ["one instance"]},
    "copy(), executescript()": {"write": ["vendor"]},
}
STARTS = {
    "task in a new Context": ["new context"],
    "tasks in one Context": ["one context"],
    "task in the parent's Context": ["own context"],
    "eager task": ["eager"],
    "TaskGroup": ["group"],
    **{name: [name] for name in WAITS},
}
NO_FAIL = some("write, wait", block=["atomic"])
CLASSES = (
    {name: {"language": BASE | some("", **how)} for name, how in VARIANTS.items()}
    | {name: {"roots": some("", start=how)} for name, how in STARTS.items()}
    | {
        "set_rollback()": {"language": NO_FAIL | some("set rollback")},
        "raw savepoint": {"language": NO_FAIL | some("", savepoint=["rollback"])},
        "on_commit()": {
            "language": some(
                "wait, fail", block=["atomic"], on_commit=["plain", "robust"]
            )
        },
        "read": {"language": NO_FAIL | some("read")},
        "iterator(), cursor": {"language": NO_FAIL | some("iterate")},
        "close()": {"language": NO_FAIL | some("close")},
        "block that others end": {"language": some("write, wait, open, end")},
        "manual transaction": {"language": some("write, wait, manual")},
        "timeout()": {
            "language": NO_FAIL,
            "roots": some("timeout"),
            "actions": ["go on", "go on", "cancel"],
        },
        "Signal.asend()": {"roots": some("send")},
        "callback": {
            "language": some("write", open=["atomic"], end=["", "fail"]),
            "roots": some("", call=["soon", "soon, new context"]),
        },
        "code beside a task": {
            "language": some("write", open=["atomic"], end=["", "fail"]),
            "roots": some("", call=["beside", "beside, new context"]),
        },
        "sync code between runs": {
            "language": some("wait, fail", block=["atomic"]),
            "sync": some("write"),
            "actions": ["go on", "pause"],
        },
        "another alias": {"aliases": ALIASES[1:]},
        "isolated_connections()": {"roots": some("", isolated=[""])},
        "ASGI request": {"roots": some("", isolated=["request"])},
    }
)
# Those that are found late.
SLOW = {*STARTS, "ASGI request", "isolated_connections()"}


@unittest.skipUnless(ALL or connection.vendor == "sqlite", "One database is enough.")
class PlainSharingTests(ScheduleTestCase):
    """Connections in a threading.local, as in the ticket's workarounds."""

    found = {}

    def setUp(self):
        super().setUp()
        self.enterContext(override_settings(DATABASE_CONNECTION_SCOPE="context"))
        storage = connections._connections
        self.addCleanup(setattr, connections, "_connections", storage)
        connections._connections = threading.local()
        self.addCleanup(connections.close_all)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        if ALL:
            table = [f"{count:7} examples: {name}" for name, count in cls.found.items()]
            print("\nUntil plain sharing loses by", *table, sep="\n", file=sys.stderr)

    def check(self, name, actions=("go on",), **kwargs):
        """It loses, within BUDGET examples, by what is told of these operations."""
        if name in SLOW and not ALL:
            self.skipTest("It takes hundreds of examples: make fuzz ALL=1")
        count = 0

        def loses(example):
            nonlocal count
            count += 1
            if is_lost := run(*example, strict=False).loses:
                self.found.setdefault(name, count)
            return is_lost

        kwargs = {"language": BASE, "sync": None, "aliases": ALIASES[:1], **kwargs}
        example = st.tuples(programs(**kwargs), lists_of_steps(*actions))
        # Any loss will do; the smallest takes a while to find.
        budget = settings(
            quietly, max_examples=BUDGET, derandomize=True, phases=[Phase.generate]
        )
        try:
            find(example, loses, settings=budget)
        except NoSuchExample:
            self.fail(f"No loss in {count} examples.")


for name, kwargs in CLASSES.items():
    setattr(
        PlainSharingTests,
        "test_" + re.sub(r"\W+", "_", name.lower()).strip("_"),
        functools.partialmethod(PlainSharingTests.check, name, **kwargs),
    )
