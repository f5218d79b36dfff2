"""A management command that drives Playwright's sync API in a transaction.

In "context" its own code and the page's handlers write on connections of their own
as soon as Playwright's loop runs: not in the transaction, and not rolled back.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping

import psycopg
import pytest

from clients.conftest import environment, in_both_scopes, texts
from patchkit.shapes import Run
from tests_ticket31997.patience import PROGRAM_PATIENCE

pytestmark = pytest.mark.skipif(
    not shutil.which("chromium"), reason="there is no Chromium: apt install chromium"
)

# A script adds one that isn't there from the start.
PAGE = """data:text/html,<ul><li>first<li>second</ul><script>
    write('by a script').then(() => document.title = 'complete')
</script>"""


@in_both_scopes
@pytest.mark.parametrize("page", (PAGE + "<footer>", PAGE), ids=("whole", "cut off"))
def test_command(
    run: Run, page: str, server: Mapping[str, str], database: psycopg.Connection
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "django", "import_page", page],
        env=environment(server, run),
        capture_output=True,
        text=True,
        timeout=PROGRAM_PATIENCE,
    )
    is_whole = page != PAGE
    error = "" if is_whole else "CommandError: The page is cut off.\n"
    assert (result.stderr, result.returncode) == (error, not is_whole)
    inside, connections = json.loads(result.stdout)
    in_page = ["by a script", "first", "second"]
    if run.scope == "thread":
        assert (inside, connections) == ([*in_page, "the page"], 1)
        assert texts(database) == (inside if is_whole else [])
    else:
        assert (inside, connections) == (in_page, 3)
        assert texts(database) == [*in_page, *["the page"] * is_whole]
