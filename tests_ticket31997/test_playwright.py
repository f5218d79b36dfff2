"""Playwright's sync API, which keeps an event loop running in the test's thread.

Its driver needs no browser to make requests.
"""

import unittest

from django.db import OperationalError, connection, connections
from django.http import HttpResponse
from django.test import (
    LiveServerTestCase,
    TestCase,
    TransactionTestCase,
    override_settings,
)
from django.urls import path

from tests_ticket31997.backends import Backends
from tests_ticket31997.models import Question
from tests_ticket31997.utils import OnLoopMixin, needs_series

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None


def add(request, text):
    """Create a question; say how many there are."""
    Question.objects.create(question_text=text)
    return HttpResponse(str(Question.objects.count()))


urlpatterns = [path("add/<str:text>", add)]


@unittest.skipUnless(sync_playwright, "Playwright isn't installed.")
@needs_series
@unittest.skipIf(
    connection.vendor == "sqlite" and connection.is_in_memory_db(),
    "A database in memory has no lock to conflict over.",
)
class PlaywrightMixin(OnLoopMixin):
    databases = {"default"}
    available_apps = ["tests_ticket31997"]

    def setUp(self):
        super().setUp()
        Question.objects.create(question_text="before")

    def texts(self):
        return list(
            Question.objects.order_by("pk").values_list("question_text", flat=True)
        )

    def test_thread(self):
        driver_connection = connection.connection
        with Backends() as backends:
            opened = backends.count()
            with sync_playwright():
                self.assertIs(connection.connection, driver_connection)
                self.assertEqual(self.texts(), ["before"])
                Question.objects.create(question_text="inside")
                self.assertEqual(backends.count(), opened)
            self.assertEqual(self.texts(), ["before", "inside"])

    def in_context(self):
        """Use the connection of the context that Playwright's loop runs in."""
        with sync_playwright():
            own = connections["default"]
            try:
                visible = self.texts()
                Question.objects.create(question_text="inside")
            finally:
                own.close()
                # Playwright runs the test in the thread's own context, which
                # tasks of later tests would inherit the connection from.
                del connections["default"]
        return visible


class PlaywrightTestCaseTests(PlaywrightMixin, TestCase):
    @override_settings(DATABASE_CONNECTION_SCOPE="context")
    def test_context(self):
        """The failure: the test's transaction is another connection's."""
        if connection.vendor == "sqlite":
            with self.assertRaisesMessage(OperationalError, "database is locked"):
                self.in_context()
            self.assertEqual(self.texts(), ["before"])
        else:
            self.addCleanup(self.delete_committed)
            self.assertEqual(self.in_context(), [])
            self.assertEqual(self.texts(), ["before", "inside"])

    def delete_committed(self):
        # The row outlives the test's rollback.
        monitor = connection.copy()
        self.addCleanup(monitor.close)
        with monitor.cursor() as cursor:
            cursor.execute("DELETE FROM tests_ticket31997_question")
            self.assertEqual(cursor.rowcount, 1)


class PlaywrightTransactionTestCaseTests(PlaywrightMixin, TransactionTestCase):
    @override_settings(DATABASE_CONNECTION_SCOPE="context")
    def test_context(self):
        """Rows are committed, so only the connection is another one."""
        self.assertEqual(self.in_context(), ["before"])
        self.assertEqual(self.texts(), ["before", "inside"])


@override_settings(ROOT_URLCONF="tests_ticket31997.test_playwright")
class PlaywrightLiveServerTests(PlaywrightMixin, LiveServerTestCase):
    def test_requests(self):
        """The server's rows are visible in the test, and the other way around."""
        with sync_playwright() as playwright:
            request = playwright.request.new_context(base_url=self.live_server_url)
            response = request.get("/add/served")
            self.assertEqual((response.status, response.text()), (200, "2"))
            self.assertEqual(self.texts(), ["before", "served"])
            Question.objects.create(question_text="inside")
            self.assertEqual(request.get("/add/again").text(), "4")
            request.dispose()
        self.assertEqual(self.texts(), ["before", "served", "inside", "again"])
