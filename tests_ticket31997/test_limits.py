"""What the pages name as limits of the "thread" scope: they're no surprise."""

import asyncio
import threading

from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection
from django.db.transaction import atomic
from django.test import TransactionTestCase
from django.test.utils import CaptureQueriesContext

from tests_ticket31997.models import Question
from tests_ticket31997.utils import OnLoopMixin, needs_series


@needs_series
class LimitTests(OnLoopMixin, TransactionTestCase):
    available_apps = ["tests_ticket31997"]

    def test_queries_of_all_tasks_are_captured(self):
        """So are they wrapped: both belong to the connection."""
        wrapped = []

        def wrapper(execute, *args):
            wrapped.append(args[0])
            return execute(*args)

        async def other():
            Question.objects.count()

        async def main():
            # It begins at the first await.
            task = asyncio.create_task(other())
            with (
                CaptureQueriesContext(connection) as captured,
                connection.execute_wrapper(wrapper),
            ):
                await task
            return [query["sql"] for query in captured]

        self.assertEqual(asyncio.run(main()), wrapped)
        self.assertEqual(len(wrapped), 1)

    def test_objects_of_the_driver_are_not_guarded(self):
        async def other():
            with self.assertRaises(SynchronousOnlyOperation):
                Question.objects.count()
            cursor = connection.connection.cursor()
            cursor.execute("SELECT count(*) FROM tests_ticket31997_question")
            return cursor.fetchone()

        async def main():
            task = asyncio.create_task(other())
            with atomic():
                Question.objects.create(question_text="uncommitted")
                return await task

        self.assertEqual(tuple(asyncio.run(main())), (1,))

    def test_async_to_sync_runs_the_loop_in_another_thread(self):
        async def main():
            self.assertIsNot(threading.current_thread(), here)
            return connection.in_atomic_block, await Question.objects.acount()

        here = threading.current_thread()
        with atomic():
            Question.objects.create(question_text="uncommitted")
            self.assertEqual(async_to_sync(main)(), (False, 1))
