"""The Python examples in the documentation that the series adds, executed."""

import asyncio
import re
import textwrap
from pathlib import Path

import django
from django.db import connection, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from tests_ticket31997.models import Choice, Question
from tests_ticket31997.utils import OnLoopMixin, needs_series

DOCS = Path(django.__file__).parent.parent / "docs"
SECTION = re.compile(
    r"^\.\. _async-database-connections:$.*?(?=^Async adapter functions$)",
    re.MULTILINE | re.DOTALL,
)
# A paragraph that ends in two colons, and the lines below it that are indented
# more than it is.
EXAMPLE = re.compile(r"^( *)\S.*::\n\n((?:\1 +.*\n|\n)+)", re.MULTILINE)


def examples():
    """Return the Python examples in the order of the text."""
    text = (DOCS / "topics" / "async.txt").read_text(encoding="utf-8")
    (section,) = SECTION.findall(text)
    return [textwrap.dedent(code) for _, code in EXAMPLE.findall(section)]


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
            "Question": Question,
            "Choice": Choice,
            **names,
        }
        for number in numbers:
            exec(examples()[number], namespace)
        return namespace

    def choices(self):
        return sorted(Choice.objects.values_list("choice_text", "votes"))

    async def fetch_votes(self, text):
        await asyncio.sleep(0)
        return len(text)

    def test_sync_block(self):
        self.execute(0, fetch_votes=self.fetch_votes)
        self.assertEqual(self.choices(), [("No", 2), ("Yes", 3)])

    def test_sync_block_rolled_back(self):
        async def fetch_votes(text):
            if text == "No":
                raise ValueError
            return await self.fetch_votes(text)

        with self.assertRaises(ExceptionGroup):
            self.execute(0, fetch_votes=fetch_votes)
        self.assertIs(Question.objects.exists(), False)

    def vote_twice(self, number):
        """Run the vote() of an example in two tasks; return what they raise."""
        question = Question.objects.create(question_text="Shall we?")
        choice = question.choice_set.create(choice_text="Yes")

        async def check_voter():
            # The second task runs as far as it can.
            await asyncio.sleep(0)

        vote = self.execute(number, check_voter=check_voter)["vote"]

        async def main():
            votes = (vote(choice.pk), vote(choice.pk))
            return await asyncio.gather(*votes, return_exceptions=True)

        return asyncio.run(main())

    def test_foreign_task(self):
        first, second = self.vote_twice(1)
        self.assertIsNone(first)
        self.assertIsInstance(second, TransactionManagementError)
        # The text quotes the beginning.
        self.assertIn(
            "Another task is in an atomic block on the connection 'default'",
            str(second),
        )
        self.assertEqual(self.choices(), [("Yes", 1)])

    def test_finished_before_awaiting(self):
        self.assertEqual(self.vote_twice(2), [None, None])
        self.assertEqual(self.choices(), [("Yes", 2)])

    def test_started_inside(self):
        question = Question.objects.create(question_text="Shall we?")
        names = self.execute(0, 3, fetch_votes=self.fetch_votes)
        Choice.objects.all().delete()
        asyncio.run(names["import_choices"](question, ["Maybe", "Never"]))
        self.assertEqual(self.choices(), [("Maybe", 5), ("Never", 5)])

    def test_lock(self):
        self.assertEqual(self.vote_twice(4), [None, None])
        self.assertEqual(self.choices(), [("Yes", 2)])

    def opened(self):
        """Return the connections to the database that are open in a context."""
        return [c for c in connections.all(initialized_only=True) if c.connection]

    @override_settings(DATABASE_CONNECTION_SCOPE="context")
    def test_closing_in_context(self):
        add_question = self.execute(5)["add_question"]

        async def main():
            await add_question("Shall we?")
            self.assertIsNot(connections["default"], connection)
            return self.opened()

        self.assertEqual(asyncio.run(main()), [])
        self.assertEqual(Question.objects.get().question_text, "Shall we?")

    def test_closing_in_thread(self):
        self.execute(6)
        self.assertEqual(self.opened(), [])
        self.assertEqual(Question.objects.count(), 2)


@needs_series
class AllExamplesTests(SimpleTestCase):
    def test_each_is_executed(self):
        """A new example needs a test of its own above."""
        self.assertEqual(
            [re.findall(r"\w+\(.*\)|^lock\b", code)[0] for code in examples()],
            [
                "add_choice(question, text)",
                "vote(choice_id)",
                "vote(choice_id)",
                "import_choices(question, texts)",
                "lock",
                "add_question(text)",
                "add_questions(texts)",
            ],
        )
