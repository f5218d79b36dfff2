"""Loops that come and go in one thread: workers, commands, several Runners."""

import asyncio
import contextvars
import gc
import queue
import threading
import weakref

from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import close_old_connections, connection, connections
from django.db.transaction import atomic
from django.test import TransactionTestCase

from tests_ticket31997.backends import Backends
from tests_ticket31997.models import Question
from tests_ticket31997.patience import PATIENCE
from tests_ticket31997.utils import OnLoopMixin, needs_series, threads


async def job(text):
    """Write two rows in a block, with others' turns before and after it."""
    await asyncio.sleep(0)
    with atomic():
        Question.objects.create(question_text=text)
        Question.objects.create(question_text=text)
    await asyncio.sleep(0)
    return connection.connection


class Command(BaseCommand):
    """What a bot's command does: a loop to begin with, one to work, one to end."""

    def handle(self, *args, **options):
        self.connections = [connection.connection]
        for name in ("begin", "work", "end"):
            with asyncio.Runner() as runner:
                for number in range(3):
                    used = runner.run(job(f"{name} {number}"))
                    self.connections.append(used)


@needs_series
class WorkerTests(OnLoopMixin, TransactionTestCase):
    available_apps = ["tests_ticket31997"]

    def test_command_with_several_runners(self):
        connection.ensure_connection()
        command = Command()
        with Backends() as backends:
            call_command(command)
            self.assertFalse(backends.count())
        self.assertEqual(
            {id(c) for c in command.connections}, {id(connection.connection)}
        )
        self.assertEqual(Question.objects.count(), 18)

    def test_block_around_runners(self):
        """A block of sync code is one transaction, whatever runs inside it."""
        with self.assertRaises(ZeroDivisionError), atomic():
            call_command(Command())
            self.assertEqual(Question.objects.count(), 18)
            raise ZeroDivisionError
        self.assertEqual(Question.objects.count(), 0)

    def test_runner_with_context(self):
        """The context of a Runner is a root one; blocks don't outlive it."""
        with asyncio.Runner() as runner:
            context = contextvars.Context()
            first = runner.run(job("a"), context=context)
            second = runner.run(job("b"))
        self.assertIs(first, second)
        self.assertIs(connection.get_autocommit(), True)

    def test_async_to_sync(self):
        """The context that asgiref copies back keeps no connection alive."""
        used = []

        async def view():
            try:
                with atomic():
                    Question.objects.create(question_text="view")
                used.append(weakref.ref(connections["default"]))
            finally:
                connections.close_all()

        for _ in range(3):
            async_to_sync(view)()
        gc.collect()
        # All but the latest one.
        self.assertEqual([wrapper() for wrapper in used[:-1]], [None] * 2)
        self.assertEqual(Question.objects.count(), 3)

    def test_worker_threads(self):
        """Like Celery's: each thread runs job after job, and has a connection."""
        jobs = queue.SimpleQueue()
        for number in range(12):
            jobs.put(f"job {number}")
        for _ in range(3):
            jobs.put("")
        turn = threading.Barrier(3)

        def worker():
            used = []
            while text := jobs.get(timeout=PATIENCE):
                # As Celery's Django fixup does around each of them.
                close_old_connections()
                used.append(asyncio.run(job(text)))
                self.assertIs(connection.connection, used[-1])
                # Nobody is left without a job.
                if len(used) == 1:
                    turn.wait(PATIENCE)
            return used

        with Backends() as backends:
            with threads(worker, worker, worker) as workers:
                pass
            each = [worker.result() for worker in workers]
            every = [c for used in each for c in used]
            self.assertFalse(backends.count_without_closed(every))
        self.assertEqual(len(every), 12)
        # CONN_MAX_AGE is 0, so each job has a fresh one, in its thread alone.
        self.assertEqual(len({id(c) for c in every}), 12)
        self.assertEqual(Question.objects.count(), 24)
