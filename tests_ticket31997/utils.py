"""For the tests of what only the patched tree can do."""

import os
import unittest
from concurrent.futures import Future, wait
from contextlib import contextmanager
from threading import Thread
from unittest import mock

from django.conf import global_settings
from django.db import connections
from django.test import override_settings

from tests_ticket31997.patience import PATIENCE

needs_series = unittest.skipUnless(
    hasattr(global_settings, "DATABASE_CONNECTION_SCOPE"),
    "The series isn't applied.",
)


class OnLoopMixin:
    """Lets a test's code use the ORM on an event loop, in the "thread" scope."""

    scope = "thread"

    def setUp(self):
        allow = mock.patch.dict(os.environ, {"DJANGO_ALLOW_ASYNC_UNSAFE": "true"})
        self.enterContext(allow)
        self.enterContext(override_settings(DATABASE_CONNECTION_SCOPE=self.scope))
        super().setUp()


@contextmanager
def threads(*functions):
    """Run functions, each in a thread of its own, beside the block.

    At its end they are waited for, and what they raise is raised. The connections
    of a thread are closed by then.

    Args:
        functions: without arguments.

    Yields:
        A future of each function's result.

    Raises:
        BaseException: what a function raised; a group of them if several did.
        TimeoutError: one is still running after PATIENCE seconds.
    """
    futures = [Future() for _ in functions]

    def run(function, future):
        try:
            try:
                result = function()
            finally:
                connections.close_all()
        except BaseException as e:
            future.set_exception(e)
        else:
            future.set_result(result)

    for pair in zip(functions, futures, strict=True):
        # One that hangs mustn't keep the process from ending.
        Thread(target=run, args=pair, daemon=True).start()
    try:
        yield futures
    finally:
        done, late = wait(futures, PATIENCE)
        errors = [
            e for future in futures if future in done and (e := future.exception())
        ]
        if late:
            errors.append(TimeoutError(f"{len(late)} threads are still running."))
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("In several threads", errors)
