"""For the tests of what only the patched tree can do."""

import os
import unittest
from unittest import mock

from django.conf import global_settings
from django.test import override_settings

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
