"""Playwright's handlers in a browser: under pytest, and beside a live server."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from clients.conftest import FORK
from clients.test_plugins import run
from patchkit import suite

pytestmark = pytest.mark.skipif(
    not shutil.which("chromium"), reason="there is no Chromium: apt install chromium"
)

SUITE = """\
import asyncio
from contextlib import nullcontext, suppress

import pytest
from django.db import connection
from django.db.transaction import atomic
from tests_ticket31997.models import Question
from tests_ticket31997.test_playwright import CHROMIUM, texts

# Nobody is asked: the handler answers.
URL = "http://127.0.0.1:9/"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    return browser_type_launch_args | CHROMIUM


@pytest.fixture
def question(db):
    assert texts() == [], "There are rows of another test."
    return Question.objects.create(question_text="before")


def write(text):
    with atomic(), atomic():
        Question.objects.create(question_text=text)
    return texts()


def play(page):
    def nested():
        with suppress(ZeroDivisionError), atomic():
            assert page.evaluate("write('lost')") == [*rows, "lost"]
            raise ZeroDivisionError
        return write("nested")

    logged = []
    page.route(URL, lambda route: route.fulfill(json=write("route")))
    page.on("console", lambda message: logged.append(write(message.text)))
    page.expose_function("write", write)
    page.expose_function("nested", nested)
    rows = ["before"]
    assert texts() == rows
    # Without and with a block of the test's own, in which it waits for the browser.
    for block in (nullcontext, atomic):
        with block():
            rows += ["test", "route"]
            Question.objects.create(question_text="test")
            assert page.goto(URL).json() == rows
            rows += ["console"]
            with page.expect_console_message():
                page.evaluate("console.log('console')")
            assert logged.pop() == rows
            rows += ["exposed"]
            assert page.evaluate("write('exposed')") == rows
            assert page.evaluate("nested()") == [*rows, "nested"]
            rows += ["nested"]
            assert texts() == rows
    with pytest.raises(ZeroDivisionError), atomic():
        assert page.evaluate("write('lost')") == [*rows, "lost"]
        raise ZeroDivisionError
    assert texts() == rows


def test_transaction_first(question, request):
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    assert connection.in_atomic_block
    play(request.getfixturevalue("page"))


@pytest.fixture
def loop_first(page):
    assert asyncio.get_running_loop()
    assert not connection.in_atomic_block


def test_loop_first(loop_first, question, page):
    play(page)


def test_nothing_is_left(page, question):
    pass
"""


# What Django says when it drops the database at the end.
OPEN = "is being accessed by other users"


def test_thread(tmp_path: Path, server: Mapping[str, str]) -> None:
    summary = run(tmp_path, server, "thread", suite=SUITE)
    result = summary.splitlines()[-1]
    # One of pytest's plugins uses something that is deprecated.
    assert re.fullmatch(r"3 passed(, 1 warning)? in .*", result), summary
    assert OPEN not in summary, summary


def test_context(tmp_path: Path, server: Mapping[str, str]) -> None:
    """The failures: rows are invisible, or stay there, and so do connections."""
    summary = run(tmp_path, server, "context", suite=SUITE)
    for failure in (
        # The transaction comes first: the test isn't in it any more. Neither is its
        # teardown, which leaves it open.
        "assert [] == ['before']",
        "The rollback flag doesn't work outside of an 'atomic' block.",
        # The loop comes first: a handler isn't in it, and its row outlives it.
        "assert ['route'] == ['before', 'test', 'route']",
        "assert ['route'] == []",
        OPEN,
    ):
        assert failure in summary, summary


def test_live_server_in_memory() -> None:
    """The loop comes before the class, whose server shares the test's connection.

    On a SQLite file and on PostgreSQL these tests run with all the others.
    """
    assert suite.run(
        FORK,
        tree="django",
        database="full_sqlite",
        scopes=["thread"],
        arguments=["tests_ticket31997.test_playwright"],
    )
