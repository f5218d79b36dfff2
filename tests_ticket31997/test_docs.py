"""The Python examples in the documentation that the series adds, executed."""

import asyncio
import re
import textwrap
import unittest
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import django
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import OperationalError, connection, connections, transaction
from django.db.models import F
from django.test import SimpleTestCase, TransactionTestCase

from tests_ticket31997.models import Choice, Question
from tests_ticket31997.utils import OnLoopMixin, needs_series

DOCS = Path(django.__file__).parent.parent / "docs"
# The sections with examples, and what follows them.
SECTIONS = {
    "topics/async.txt": (".. _async-database-connections:", "Async adapter functions"),
    "ref/databases.txt": ("Isolated connections", "Encoding"),
}
# A paragraph that ends in two colons, and the lines below it that are indented
# more than it is.
EXAMPLE = re.compile(r"^( *)\S.*::\n\n((?:\1 +.*\n|\n)+)", re.MULTILINE)
# How to wait for a row's lock but shortly, and the error that says so.
LOCK_TIMEOUTS = {
    "mysql": ("SET innodb_lock_wait_timeout = 1", "Lock wait timeout"),
    "postgresql": ("SET lock_timeout = 100", "lock timeout"),
}


def examples():
    """Return the Python examples in the order of the text."""
    found = []
    for page, (begin, end) in SECTIONS.items():
        text = (DOCS / page).read_text(encoding="utf-8")
        _, section = text.split(f"\n{begin}\n")
        section, _ = section.split(f"\n{end}\n")
        found += [textwrap.dedent(code) for _, code in EXAMPLE.findall(section)]
    return found


@needs_series
class ExampleTests(OnLoopMixin, TransactionTestCase):
    available_apps = ["tests_ticket31997"]

    def execute(self, *numbers, **names):
        """Execute examples one after the other.

        Args:
            numbers: which ones.
            names: what they don't define themselves.

        Returns:
            The names that they define.
        """
        namespace = {
            "asyncio": asyncio,
            "connections": connections,
            "transaction": transaction,
            "async_to_sync": async_to_sync,
            "Question": Question,
            "Choice": Choice,
            "F": F,
            **names,
        }
        for number in numbers:
            exec(examples()[number], namespace)
        return namespace

    def choices(self):
        return sorted(Choice.objects.values_list("choice_text", "votes"))

    def test_async_to_sync(self):
        """It's in the transaction of the code that calls it."""
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            self.execute(0)
            self.assertEqual(self.choices(), [("Yes", 0)])
            raise ZeroDivisionError
        self.assertEqual(self.choices(), [])

    def import_choices(self, import_choice):
        question = Question.objects.create(question_text="Shall we?")
        names = self.execute(1, import_choice=import_choice)
        asyncio.run(names["import_choices"](question, ["Yes", "No"]))

    def test_started_inside(self):
        async def import_choice(question, text):
            await asyncio.sleep(0)
            with transaction.atomic():
                question.choice_set.create(choice_text=text)

        self.import_choices(import_choice)
        self.assertEqual(self.choices(), [("No", 0), ("Yes", 0)])

    def test_started_inside_and_rolled_back(self):
        async def import_choice(question, text):
            question.choice_set.create(choice_text=text)
            await asyncio.sleep(0)
            if text == "No":
                raise ZeroDivisionError

        with self.assertRaises(ExceptionGroup):
            self.import_choices(import_choice)
        self.assertEqual(self.choices(), [])

    def vote_twice(self, lock=None):
        """Run the vote() of the example in two tasks; return what they raise."""
        question = Question.objects.create(question_text="Shall we?")
        choice = question.choice_set.create(choice_text="Yes")

        async def check_voter(choice):
            # The second task runs as far as it can.
            await asyncio.sleep(0)

        names = self.execute(2, check_voter=check_voter)
        if lock:
            names["lock"] = lock

        async def main():
            votes = (names["vote"](choice.pk), names["vote"](choice.pk))
            return await asyncio.gather(*votes, return_exceptions=True)

        return asyncio.run(main())

    def test_lock(self):
        self.assertEqual(self.vote_twice(), [None, None])
        self.assertEqual(self.choices(), [("Yes", 2)])

    def test_without_lock(self):
        first, second = self.vote_twice(nullcontext())
        self.assertIsNone(first)
        self.assertIsInstance(second, SynchronousOnlyOperation)
        self.assertEqual(self.choices(), [("Yes", 1)])

    @unittest.skipUnless(connection.vendor in LOCK_TIMEOUTS, "It has no row locks.")
    def test_a_prefixed_method_inside_block(self):
        """It isn't in the block, and waits for its locks."""

        async def main():
            with transaction.atomic():
                question = Question.objects.create(question_text="inside")
                self.assertIs(await Question.objects.aexists(), False)
                await sync_to_async(set_lock_timeout)()
                with self.assertRaisesMessage(OperationalError, message):
                    await Question.objects.acreate(pk=question.pk)
            await sync_to_async(connections.close_all)()

        def set_lock_timeout():
            with connections["default"].cursor() as cursor:
                cursor.execute(statement)

        statement, message = LOCK_TIMEOUTS[connection.vendor]
        asyncio.run(main())

    def isolated(self, call):
        """Await an example that isolates its connections; return the one it used.

        Args:
            call: given the names of the examples and a function that uses the ORM,
                returns what to await.
        """
        used = []

        def work(**kwargs):
            Question.objects.update(question_text=str(kwargs))
            used.append(connections["default"])

        async def main():
            Question.objects.create(question_text="before")
            await call(work)

        asyncio.run(main())
        (connection,) = used
        self.assertIsNot(connection, connections["default"])
        return connection

    def test_isolated_application(self):
        async def outermost_application(scope, receive, send):
            try:
                scope["work"]()
            finally:
                connections.close_all()

        names = self.execute(3, outermost_application=outermost_application)
        self.isolated(lambda work: names["application"]({"work": work}, None, None))
        self.assertEqual(Question.objects.get().question_text, "{}")

    def test_isolated_task(self):
        def call(work):
            entry = SimpleNamespace(objects=SimpleNamespace(update=work))
            return self.execute(4, Entry=entry)["work"]()

        self.assertIsNone(self.isolated(call).connection)
        self.assertEqual(Question.objects.get().question_text, "{'checked': True}")


@needs_series
class AllExamplesTests(SimpleTestCase):
    def test_each_is_executed(self):
        """A new example needs a test of its own above."""
        names = ["acreate", "import_choices", "vote", "application", "work"]
        regex = "|".join(names)
        self.assertEqual([re.search(regex, e)[0] for e in examples()], names)
