"""Async fixtures that hold a block open: pytest-asyncio, anyio's plugin and unittest.

pytest-asyncio and IsolatedAsyncioTestCase end the task of a fixture as soon as it has
begun, so that in "thread" its block is for all code of the test. anyio's plugin keeps
one task for all fixtures and async tests: a sync test is refused there. In "context"
sync tests aren't in the block.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from clients.conftest import in_both_scopes, refusal
from clients.test_plugins import run as run_suite
from patchkit.shapes import Run

SUITE = """\
import unittest

import pytest, pytest_asyncio
from django.db.transaction import atomic, set_rollback
from tests_ticket31997.models import Question


def write(text):
    Question.objects.create(question_text=text)
    return sorted(Question.objects.values_list("question_text", flat=True))


# In and outside of a block of sync code.
@pytest.fixture(params=("db", "transactional_db"))
def database(request):
    return request.getfixturevalue(request.param)


async def block():
    with atomic():
        yield write("fixture")
        set_rollback(True)


@pytest_asyncio.fixture
async def of_asyncio(database):
    async for rows in block():
        yield rows


@pytest.fixture
async def of_anyio(database, anyio_backend):
    async for rows in block():
        yield rows


@pytest.mark.asyncio
async def test_asyncio(of_asyncio):
    assert write("test") == ["fixture", "test"]


def test_asyncio_sync(of_asyncio):
    assert write("test") == ["fixture", "test"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_anyio(of_anyio):
    assert write("test") == ["fixture", "test"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
def test_anyio_sync(of_anyio):
    assert write("test") == ["fixture", "test"]


class Mixin:
    async def asyncSetUp(self):
        self.block = atomic()
        self.block.__enter__()
        write("fixture")

    async def asyncTearDown(self):
        set_rollback(True)
        self.block.__exit__(None, None, None)

    async def test_unittest(self):
        assert write("test") == ["fixture", "test"]

    def test_unittest_sync(self):
        assert write("test") == ["fixture", "test"]


@pytest.mark.django_db
class TestInside(Mixin, unittest.IsolatedAsyncioTestCase):
    pass


@pytest.mark.django_db(transaction=True)
class TestOutside(Mixin, unittest.IsolatedAsyncioTestCase):
    pass


def test_nothing_is_left(database):
    assert write("test") == ["test"]
"""


# In the report of a failure: with CI in the environment pytest's summary has them too.
NOT_INSIDE = r"(?m)^E .*assert \['test'\] == \['fixture', 'test'\]"
REFUSED = r"(?m)^E .*" + refusal(
    r"TestRunner\._run_tests_and_fixtures, .*/anyio/_backends/_asyncio\.py"
)


@in_both_scopes
def test_suite(run: Run, tmp_path: Path, server: Mapping[str, str]) -> None:
    summary = run_suite(tmp_path, server, run.scope, suite=SUITE)
    failed = re.findall(r"^FAILED .*::(\w+)", summary, re.MULTILINE)
    if run.scope == "thread":
        assert failed == ["test_anyio_sync"] * 2
        assert len(re.findall(REFUSED, summary)) == 2
    else:
        sync = ("test_unittest_sync", "test_asyncio_sync", "test_anyio_sync")
        assert failed == [name for name in sync for _ in range(2)]
        assert len(re.findall(NOT_INSIDE, summary)) == 6
    assert re.match(
        rf"{len(failed)} failed, {14 - len(failed)} passed", summary.splitlines()[-1]
    ), summary
