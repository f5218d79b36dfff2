"""Playwright's sync API, which keeps an event loop running in the test's thread.

Its driver needs no browser to make requests. Handlers want one: Playwright calls
them beside the test, while that waits, with a context of their own.
"""

import os
import shutil
import unittest
from unittest import mock

from django.db import OperationalError, connection, connections
from django.db.transaction import atomic
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
from tests_ticket31997.patience import PATIENCE
from tests_ticket31997.shapes import without_waiting
from tests_ticket31997.utils import OnLoopMixin, needs_series

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

# How to launch a browser, here and in clients/.
CHROMIUM = {
    "executable_path": shutil.which("chromium"),
    "args": ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
}

# A page that asks for no favicon on its own.
PAGE = '<!DOCTYPE html><link rel="icon" href="data:,">'
# It asks the server and the test in turns, and notes what they count.
TURNS = """async (patience) => {
    const get = async (path) => {
        // A handler that raises doesn't answer.
        const response = await fetch(path, {signal: AbortSignal.timeout(patience)});
        return Number(await response.text());
    };
    return [
        await get("/add/served"),
        await get("/routed"),
        await get("/add/both"),
        await write("exposed"),
        await get("/add/last"),
    ];
}"""


def add(request, text):
    """Create a question; say how many there are."""
    Question.objects.create(question_text=text)
    return HttpResponse(str(Question.objects.count()))


urlpatterns = [path("add/<str:text>", add)]


def texts():
    return list(Question.objects.order_by("pk").values_list("question_text", flat=True))


@unittest.skipUnless(sync_playwright, "Playwright isn't installed.")
@needs_series
class PlaywrightMixin(OnLoopMixin):
    databases = {"default"}
    available_apps = ["tests_ticket31997"]

    def setUp(self):
        super().setUp()
        Question.objects.create(question_text="before")

    def test_thread(self):
        driver_connection = connection.connection
        with Backends() as backends:
            opened = backends.count()
            with sync_playwright():
                self.assertIs(connection.connection, driver_connection)
                self.assertEqual(texts(), ["before"])
                Question.objects.create(question_text="inside")
                self.assertEqual(backends.count(), opened)
            self.assertEqual(texts(), ["before", "inside"])

    def in_context(self):
        """Use the connection of the context that Playwright's loop runs in."""
        with without_waiting(), sync_playwright():
            own = connections["default"]
            try:
                visible = texts()
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
            locked = "database table" if connection.is_in_memory_db() else "database"
            with self.assertRaisesMessage(OperationalError, f"{locked} is locked"):
                self.in_context()
            self.assertEqual(texts(), ["before"])
        else:
            self.addCleanup(self.delete_committed)
            self.assertEqual(self.in_context(), [])
            self.assertEqual(texts(), ["before", "inside"])

    def delete_committed(self):
        # The row outlives the test's rollback.
        monitor = connection.copy()
        self.addCleanup(monitor.close)
        with monitor.cursor() as cursor:
            # By its key: InnoDB waits for each row that it looks at, and the test's
            # own is locked.
            cursor.execute("SELECT id FROM tests_ticket31997_question")
            [key] = cursor.fetchall()
            cursor.execute("DELETE FROM tests_ticket31997_question WHERE id = %s", key)
            self.assertEqual(cursor.rowcount, 1)


class PlaywrightTransactionTestCaseTests(PlaywrightMixin, TransactionTestCase):
    @override_settings(DATABASE_CONNECTION_SCOPE="context")
    def test_context(self):
        """Rows are committed, so only the connection is another one."""
        self.assertEqual(self.in_context(), ["before"])
        self.assertEqual(texts(), ["before", "inside"])


@override_settings(ROOT_URLCONF="tests_ticket31997.test_playwright")
class PlaywrightLiveServerTests(PlaywrightMixin, LiveServerTestCase):
    def test_requests(self):
        """The server's rows are visible in the test, and the other way around."""
        with sync_playwright() as playwright:
            request = playwright.request.new_context(base_url=self.live_server_url)
            response = request.get("/add/served")
            self.assertEqual((response.status, response.text()), (200, "2"))
            self.assertEqual(texts(), ["before", "served"])
            Question.objects.create(question_text="inside")
            self.assertEqual(request.get("/add/again").text(), "4")
            request.dispose()
        self.assertEqual(texts(), ["before", "served", "inside", "again"])


@unittest.skipUnless(sync_playwright, "Playwright isn't installed.")
@unittest.skipUnless(CHROMIUM["executable_path"], "There is no Chromium.")
@override_settings(ROOT_URLCONF="tests_ticket31997.test_playwright")
class BrowserTestCase(LiveServerTestCase):
    """In the order of Django's own browser tests: the loop comes first."""

    databases = {"default"}
    available_apps = ["tests_ticket31997"]

    @classmethod
    def setUpClass(cls):
        backends = cls.enterClassContext(Backends())
        # TransactionTestCase closes the test's connection, whichever it was.
        cls.addClassCleanup(backends.count_without_closed, [])
        allow = mock.patch.dict(os.environ, {"DJANGO_ALLOW_ASYNC_UNSAFE": "true"})
        cls.enterClassContext(allow)
        playwright = cls.enterClassContext(sync_playwright())
        super().setUpClass()
        launched = playwright.chromium.launch(**CHROMIUM)
        cls.browser = cls.enterClassContext(launched)

    def setUp(self):
        self.used = []
        self.page = self.enterContext(self.browser.new_page())
        self.page.expose_function("write", self.write)
        url = f"{self.live_server_url}/"
        self.page.route(url, lambda r: r.fulfill(body=PAGE, content_type="text/html"))
        self.page.goto(url)

    def write(self, text):
        """Do what a handler does, in a block; say how many rows there are."""
        with atomic():
            Question.objects.create(question_text=text)
            self.used.append(connections["default"])
        return Question.objects.count()

    def pass_on(self, route):
        self.write("passed on")
        route.continue_()

    def take_turns(self):
        """Let the server and all kinds of handlers write; each sees what was."""
        page = self.page
        page.route("**/routed", lambda r: r.fulfill(body=str(self.write("routed"))))
        page.route("**/add/both", self.pass_on)
        page.on("console", lambda message: self.write(message.text))
        self.assertEqual(page.evaluate(TURNS, PATIENCE * 1000), [1, 2, 4, 5, 6])
        with page.expect_console_message():
            page.evaluate("console.log('logged')")
        written = ["served", "routed", "passed on", "both", "exposed", "last"]
        self.assertEqual(texts(), [*written, "logged"])


@needs_series
@override_settings(DATABASE_CONNECTION_SCOPE="thread")
class BrowserThreadScopeTests(BrowserTestCase):
    def test_turns(self):
        self.take_turns()
        self.assertEqual({id(c) for c in self.used}, {id(connections["default"])})

    def test_blocks(self):
        """A handler's block is inside the one that the test waits in."""

        def outer():
            with self.assertRaises(ZeroDivisionError), atomic():
                # Meanwhile the other handler runs, and ends.
                self.assertEqual(self.page.evaluate("write('inner')"), 2)
                raise ZeroDivisionError
            return self.write("kept")

        self.page.expose_function("outer", outer)
        with atomic():
            Question.objects.create(question_text="test")
            self.assertEqual(self.page.evaluate("outer()"), 2)
        self.assertEqual(texts(), ["test", "kept"])
        with self.assertRaises(ZeroDivisionError), atomic():
            self.assertEqual(self.page.evaluate("write('lost')"), 3)
            raise ZeroDivisionError
        self.assertEqual(texts(), ["test", "kept"])

    def test_server_in_block(self):
        """In memory the server's threads share the test's connection."""
        if not (connection.vendor == "sqlite" and connection.is_in_memory_db()):
            self.skipTest("The server has connections of its own.")
        with self.assertRaises(ZeroDivisionError), atomic():
            self.take_turns()
            raise ZeroDivisionError
        self.assertEqual(texts(), [])


@override_settings(DATABASE_CONNECTION_SCOPE="context")
class BrowserContextScopeTests(BrowserTestCase):
    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        # As in in_context(): while the loop is running, it's that of the context.
        connections["default"].close()
        del connections["default"]

    def test_turns(self):
        """Rows are committed, so it works; but each handler opens a connection."""
        self.take_turns()
        used = {id(c) for c in [*self.used, connections["default"]]}
        self.assertEqual(len(used), 5)
        for of_handler in self.used:
            self.assertIsNotNone(of_handler.connection)
            of_handler.close()
