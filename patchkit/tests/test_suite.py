"""What runs inside the trees: the "thread" half of our tests is red on the base."""

import re
import subprocess
import sys

import pytest

from patchkit import ROOT, suite
from tests_ticket31997.patience import PROGRAM_PATIENCE

HALF = 6


def runtests(database: str, tree: str, *arguments: str) -> tuple[int, str]:
    options = ("--optional", "--scope=context", f"--database={database}")
    command = ("runtests", *options, f"--tree={tree}", suite.PACKAGE, *arguments)
    result = subprocess.run(
        [sys.executable, "-m", "patchkit", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PROGRAM_PATIENCE,
    )
    if skipped := re.search(r"^Skipped: (.*)", result.stdout, re.MULTILINE):
        pytest.skip(skipped[1])
    return result.returncode, result.stdout


@pytest.mark.parametrize("database", suite.DATABASES)
def test_the_thread_half_fails_on_the_base(database: str) -> None:
    status, output = runtests(database, "base", "--tag=thread")
    assert status == 1
    assert f"Ran {HALF} tests" in output
    assert f"FAILED (failures={HALF})" in output
    failed = re.findall(r"^FAIL: (\w+) \(.*ThreadScopeTests", output, re.MULTILINE)
    assert len(set(failed)) == HALF


@pytest.mark.parametrize("database", suite.DATABASES)
def test_the_rest_passes_on_the_base(database: str) -> None:
    status, output = runtests(database, "base", "--exclude-tag=thread")
    assert status == 0, output
    assert re.search(r"^Ran [1-9]\d* tests", output, re.MULTILINE)
