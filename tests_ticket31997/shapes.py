"""The shapes in which the ticket is met, each a short program.

A shape writes 10 questions and 90 choices, or what its docstring says. With one
connection and one transaction every shape passes.

Python 3.8 is enough for this module and those it needs, so that `make history`
can run it on the Django versions of that time.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest import mock

from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.transaction import atomic
from django.db.utils import OperationalError

from tests_ticket31997.backends import Backends
from tests_ticket31997.models import Choice, Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

TASKS = 10
CHOICES_PER_TASK = 9
INSERTS = 1000

# The options of a connection that doesn't wait for locks. (MySQL makes it a second.)
IMPATIENT = {
    "sqlite": {"timeout": 0},
    "mysql": {"init_command": "SET innodb_lock_wait_timeout = 0"},
}
# Why a shape can't be rewritten, by how the messages of Django and asgiref begin.
OBSTACLES = {
    "You cannot call this from an async context": "can't: a block in a coroutine",
    "You cannot use AsyncToSync in the same thread": "can't: a loop is running",
}


class Undo(Exception):
    """Raised by a shape to roll its outer transaction back."""


@dataclass
class Recorder:
    """What a shape used.

    Attributes:
        wrappers: Django's connections.
        driver: the database driver's connections behind them.
    """

    wrappers: list = field(default_factory=list)
    driver: list = field(default_factory=list)

    def note(self) -> None:
        """Remember the connection that the calling code gets."""
        wrapper = connections[DEFAULT_DB_ALIAS]
        wrapper.ensure_connection()
        if not any(wrapper is known for known in self.wrappers):
            self.wrappers.append(wrapper)
        if not any(wrapper.connection is known for known in self.driver):
            self.driver.append(wrapper.connection)


def add_questions(recorder: Recorder, count: int = TASKS) -> list[Question]:
    """Insert questions.

    Args:
        recorder: told about the connection used.
        count: how many.

    Returns:
        The questions.
    """
    recorder.note()
    return [
        Question.objects.create(question_text=f"Question {number}?")
        for number in range(count)
    ]


async def add_choices(recorder: Recorder, question: Question) -> None:
    """Insert one task's choices, with a chance for other tasks before them.

    Args:
        recorder: told about the connection used.
        question: the question to add them to.
    """
    await asyncio.sleep(0)
    recorder.note()
    for number in range(CHOICES_PER_TASK):
        Choice.objects.create(question=question, choice_text=f"Choice {number}")


async def add_question_with_choices(recorder: Recorder) -> None:
    """Insert one question with its choices in a transaction.

    Args:
        recorder: told about the connection used.
    """
    await asyncio.sleep(0)
    with atomic():
        [question] = add_questions(recorder, 1)
        for number in range(CHOICES_PER_TASK):
            Choice.objects.create(question=question, choice_text=f"Choice {number}")


async def gather(function: Callable[..., Awaitable], *arguments: tuple) -> None:
    """Run a task for each tuple of arguments, and all of them to their end.

    Args:
        function: a coroutine function.
        arguments: the arguments of each task.

    Raises:
        Exception: the first that a task raised, once all have ended.
    """
    tasks = [asyncio.ensure_future(function(*each)) for each in arguments]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def async_atomic_gather(recorder: Recorder) -> None:
    """The ticket's demo: a coroutine opens a transaction and gathers tasks."""

    async def main() -> None:
        with atomic():
            questions = add_questions(recorder)
            await gather(add_choices, *[(recorder, q) for q in questions])

    asyncio.run(main())


def sync_atomic_run(recorder: Recorder) -> None:
    """Sync code opens a transaction and runs a coroutine inside it."""

    async def main(questions: list[Question]) -> None:
        for question in questions:
            await add_choices(recorder, question)

    with atomic():
        asyncio.run(main(add_questions(recorder)))


def gather_without_parent(recorder: Recorder) -> None:
    """Tasks with a transaction each, and no connection where they start."""
    asyncio.run(gather(add_question_with_choices, *[(recorder,)] * TASKS))


def sync_atomic_gather(recorder: Recorder) -> None:
    """Sync code opens a transaction and gathers tasks inside it."""
    with atomic():
        questions = add_questions(recorder)
        asyncio.run(gather(add_choices, *[(recorder, q) for q in questions]))


def outer_rollback(recorder: Recorder) -> None:
    """Sync code's transaction is rolled back, with what its tasks wrote."""
    try:
        with atomic():
            add_questions(recorder, 1)
            asyncio.run(gather(add_question_with_choices, *[(recorder,)] * TASKS))
            raise Undo
    except Undo:
        pass


def call_beside_loop(function: Callable[[], None]) -> None:
    """Call sync code while an event loop runs in its thread.

    Args:
        function: called by the loop, outside of any task.

    Raises:
        Exception: what the function raised.
    """
    loop = asyncio.new_event_loop()
    called = loop.create_future()

    def call() -> None:
        try:
            called.set_result(function())
        except Exception as e:
            called.set_exception(e)

    loop.call_soon(call)
    try:
        loop.run_until_complete(called)
    finally:
        loop.close()


def running_loop(recorder: Recorder) -> None:
    """Sync code's transaction goes on beside a loop, as under Playwright's sync API."""

    def beside(questions: list[Question]) -> None:
        recorder.note()
        with atomic():
            for question in questions:
                for number in range(CHOICES_PER_TASK):
                    Choice.objects.create(question=question, choice_text=str(number))

    with atomic():
        questions = add_questions(recorder)
        call_beside_loop(lambda: beside(questions))


def inserts(recorder: Recorder) -> None:
    """1,000 inserts by a coroutine that runs inside sync code's transaction."""

    async def main() -> None:
        add_questions(recorder, INSERTS)

    with atomic():
        recorder.note()
        asyncio.run(main())


@dataclass(frozen=True)
class Shape:
    """A shape and what it leaves in the tables if all is well.

    Attributes:
        title: how the tables of the demo call it.
        run: the program.
        questions: the number of rows.
        choices: the number of rows.
    """

    title: str
    run: Callable[[Recorder], None]
    questions: int = TASKS
    choices: int = TASKS * CHOICES_PER_TASK


SHAPES = {
    shape.run.__name__: shape
    for shape in (
        Shape("the demo: async atomic > gather", async_atomic_gather),
        Shape("sync atomic > asyncio.run", sync_atomic_run),
        Shape("gather, no parent connection", gather_without_parent),
        Shape("sync atomic > gather", sync_atomic_gather),
        Shape("sync atomic > gather > rollback", outer_rollback, 0, 0),
        Shape("sync atomic > inside a running loop", running_loop),
        Shape("sync atomic > 1,000 inserts", inserts, INSERTS, 0),
    )
}


@dataclass
class Outcome:
    """What a shape did.

    Attributes:
        shape: its name.
        passed: whether the rows are right and one connection served it all.
        result: the same in words.
        questions: rows added.
        choices: rows added.
        connections: the number of the driver's connections used.
        shared: whether all of it used the connection that sync code in the
            same thread gets.
        backends: server processes when the program had ended, or None for a
            database without them.
        backends_left: server processes after connections.close_all().
        seconds: the time that the program took.
    """

    shape: str
    passed: bool
    result: str
    questions: int
    choices: int
    connections: int
    shared: bool
    backends: int | None
    backends_left: int | None
    seconds: float


def obstacle(error: Exception) -> str | None:
    """Say why a shape can't be rewritten, if that is what an error is about."""
    for beginning, words in OBSTACLES.items():
        if str(error).startswith(beginning):
            return words
    return None


def in_words(
    shape: Shape,
    error: Exception | None,
    rows: tuple,
    connections: int,
    left: int | None,
) -> str:
    """Say how a shape ended.

    Args:
        shape: the shape.
        error: the exception it raised.
        rows: the numbers of questions and choices it left.
        connections: how many connections it used.
        left: how many backends it left.

    Returns:
        "ok", or what is wrong; of several things the one that matters most.
    """
    if isinstance(error, OperationalError):
        # MySQL has a number before it, and advice after it.
        return str(error.args[-1]).partition(";")[0]
    if error is not None:
        # PostgreSQL: a choice refers to a question of another transaction.
        return obstacle(error) or f"{type(error).__name__}: rows invisible"
    if rows != (shape.questions, shape.choices):
        return "rows outlive the rollback"
    if connections > 1:
        return f"{connections} connections"
    if left:
        return "a connection stays open"
    return "ok"


@contextmanager
def without_waiting() -> Iterator[None]:
    """Let connections that are made in the block not wait for locks.

    It's for a thread with several connections. Where one of them has the lock,
    another one would wait for its own thread, in vain: for SQLite's one lock, or
    for the row that a foreign key refers to, which PostgreSQL doesn't wait for.
    """
    wrapper = connections[DEFAULT_DB_ALIAS]
    changes = IMPATIENT.get(wrapper.vendor, {})
    # All connections to the database are made from the same dict.
    with mock.patch.dict(wrapper.settings_dict["OPTIONS"], changes):
        yield


def measure(name: str, rewritten: Callable[[Recorder], None] | None = None) -> Outcome:
    """Run a shape with nothing open before it, and clean up after it.

    The calling thread's connections are closed. The tables must exist; what
    they hold is removed, but for a question that is there beforehand, as in
    the ticket.

    Args:
        name: a key of SHAPES.
        rewritten: the same program for the asynchronous API, which does without
            the permission to call the synchronous one on an event loop.

    Returns:
        What it did.
    """
    shape = SHAPES[name]
    recorder = Recorder()
    Question.objects.all().delete()
    Question.objects.create(question_text="There beforehand")
    connections.close_all()
    error = None
    # Django takes "" for no.
    allow = {"DJANGO_ALLOW_ASYNC_UNSAFE": "" if rewritten else "true"}
    with Backends() as backends, mock.patch.dict(os.environ, allow), without_waiting():
        start = time.perf_counter()
        try:
            (rewritten or shape.run)(recorder)
        except Exception as e:
            if not isinstance(e, Error) and not obstacle(e):
                raise
            error = e
        seconds = time.perf_counter() - start
        shared = all(w is connections[DEFAULT_DB_ALIAS] for w in recorder.wrappers)
        opened = backends.count()
        connections.close_all()
        left = backends.count_without_closed(recorder.driver)
        # What close_all() can't reach: the contexts are gone, so nothing can.
        for wrapper in recorder.wrappers:
            wrapper.close()
    rows = (Question.objects.count() - 1, Choice.objects.count())
    result = in_words(shape, error, rows, len(recorder.driver), left)
    return Outcome(
        name,
        result == "ok",
        result,
        *rows,
        len(recorder.driver),
        shared,
        opened,
        left,
        seconds,
    )
