"""A Jupyter kernel: cells that query, gather, and hold a block open."""

from collections.abc import Callable, Iterator, Mapping

import psycopg
import pytest
from jupyter_client.manager import start_new_kernel

from clients.conftest import backends, texts
from tests_ticket31997.patience import PATIENCE

SET_UP = """\
import asyncio, django
django.setup()
from django.db import connection, connections, transaction
from tests_ticket31997.models import Question

async def ask(text):
    await asyncio.sleep(0)
    with transaction.atomic():
        Question.objects.create(question_text=text)
"""


@pytest.fixture
def cell(server: Mapping[str, str]) -> Iterator[Callable[[str], str]]:
    """Run code in a kernel as a cell; return what its last line is."""
    manager, client = start_new_kernel(
        startup_timeout=PATIENCE, kernel_name="python3", env=dict(server)
    )

    def run(code: str) -> str:
        said: list[str] = []

        def hook(message: dict) -> None:
            if message["msg_type"] == "execute_result":
                said.append(message["content"]["data"]["text/plain"])

        reply = client.execute_interactive(code, output_hook=hook, timeout=PATIENCE)
        content = reply["content"]
        assert content["status"] == "ok", "\n".join(content.get("traceback", []))
        return "".join(said)

    try:
        run(SET_UP)
        yield run
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


def test_kernel(cell: Callable[[str], str], database: psycopg.Connection) -> None:
    assert cell("Question.objects.count()") == "0"
    assert cell("await asyncio.gather(ask('a'), ask('b')); Question.objects.count()")
    assert texts(database) == ["a", "b"]
    # A block that is open across cells, which other cells and tasks join.
    cell("block = transaction.atomic()\nblock.__enter__()")
    cell("Question.objects.create(question_text='c')")
    cell("await asyncio.gather(ask('d'), ask('e'))")
    assert cell("Question.objects.count()") == "5"
    assert texts(database) == ["a", "b"]
    cell("transaction.set_rollback(True)\nblock.__exit__(None, None, None)")
    assert cell("Question.objects.count()") == "2"
    assert cell("connection.in_atomic_block, connection.get_autocommit()") == (
        "(False, True)"
    )
    # Sync code in the kernel's thread gets the same connection.
    assert len(backends(database)) == 1
    cell("connections.close_all()")
    assert cell("connection.connection is None") == "True"
