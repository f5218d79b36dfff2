"""Loops that come and go in one thread: workers, commands, several Runners."""

import asyncio
import contextvars
import queue
import threading

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import close_old_connections, connection, connections
from django.db.transaction import atomic
from django.test import TransactionTestCase

from tests_ticket31997.backends import Backends
from tests_ticket31997.models import Question
from tests_ticket31997.utils import OnLoopMixin, needs_series


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
            opened = backends.count()
            call_command(command)
            self.assertEqual(backends.count(), opened)
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

    def test_worker_threads(self):
        """Like Celery's: each thread runs job after job, and has a connection."""
        jobs = queue.SimpleQueue()
        used = {}
        turn = threading.Barrier(3)

        def worker():
            mine = used.setdefault(threading.get_ident(), [])
            turn.wait()
            while text := jobs.get():
                # As Celery's Django fixup does around each of them.
                close_old_connections()
                mine.append(asyncio.run(job(text)))
                # Nobody is left without a job.
                if len(mine) == 1:
                    turn.wait()
            connections.close_all()

        threads = [threading.Thread(target=worker) for _ in range(3)]
        with Backends() as backends:
            opened = backends.count()
            for thread in threads:
                thread.start()
            for number in range(12):
                jobs.put(f"job {number}")
            for _ in threads:
                jobs.put("")
            for thread in threads:
                thread.join()
            every = [c for mine in used.values() for c in mine]
            if opened is not None:
                self.assertEqual(backends.count_without_closed(every), opened)
        self.assertEqual(len(every), 12)
        # CONN_MAX_AGE is 0, so each job has a fresh one, in its thread alone.
        for mine in used.values():
            others = {id(c) for c in every} - {id(c) for c in mine}
            self.assertEqual(len(others), 12 - len(mine))
        self.assertEqual(Question.objects.count(), 24)
