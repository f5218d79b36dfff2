"""pytest-django and pytest-playwright, as a project's test suite uses them."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests_ticket31997.patience import PROGRAM_PATIENCE

SUITE = """\
import pytest
from django.db import connection
from tests_ticket31997.models import Question


@pytest.fixture
def question(db):
    return Question.objects.create(question_text="before")


def texts():
    return sorted(Question.objects.values_list("question_text", flat=True))


def test_browser_started_late(question, request):
    request.getfixturevalue("playwright")
    assert texts() == ["before"]


def test_rows_of_the_fixture(question, playwright):
    assert connection.in_atomic_block
    assert texts() == ["before"]
    Question.objects.create(question_text="inside")
    assert texts() == ["before", "inside"]


def test_the_other_one_was_rolled_back(playwright, db):
    assert texts() == []


@pytest.mark.django_db(transaction=True)
def test_transactional(playwright):
    Question.objects.create(question_text="committed")
    assert texts() == ["committed"]


@pytest.mark.django_db(transaction=True)
def test_live_server(live_server, playwright):
    Question.objects.create(question_text="before")
    request = playwright.request.new_context(base_url=live_server.url)
    assert request.get("/add/served").text() == "2"
    assert texts() == ["before", "served"]
    request.dispose()
"""


def run(
    directory: Path,
    server: Mapping[str, str],
    scope: str,
    *arguments: str,
    suite: str = SUITE,
) -> str:
    """Run a suite in a process of its own; return what pytest says."""
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_suite.py").write_text(suite)
    (directory / "suite_settings.py").write_text(
        "from tests_ticket31997.settings.postgresql import *\n"
        'ROOT_URLCONF = "tests_ticket31997.test_playwright"\n'
        'STATIC_URL = "static/"\n'
    )
    env = dict(server) | {
        "DATABASE_CONNECTION_SCOPE": scope,
        # Connections of one thread wait for each other's locks in vain.
        "PGOPTIONS": "-c lock_timeout=1000",
        "DJANGO_SETTINGS_MODULE": "suite_settings",
        "PYTHONPATH": f"{directory}:{server['PYTHONPATH']}",
    }
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", *arguments],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=PROGRAM_PATIENCE,
    )
    return result.stdout


def test_thread(tmp_path: Path, server: Mapping[str, str]) -> None:
    summary = run(tmp_path, server, "thread")
    assert summary.splitlines()[-1].startswith("5 passed"), summary


def test_context(tmp_path: Path, server: Mapping[str, str]) -> None:
    """The failure: what the fixture wrote before the loop ran can't be seen."""
    summary = run(tmp_path, server, "context", "-k", "browser_started_late")
    assert "FAILED test_suite.py::test_browser_started_late" in summary
    assert "assert [] == ['before']" in summary
