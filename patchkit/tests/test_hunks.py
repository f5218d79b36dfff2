"""Reverting each hunk: which of them have to turn a test red."""

import pytest

from patchkit import checkout, hunks
from patchkit.checkout import Fork
from patchkit.series import export
from patchkit.tests.conftest import commit, commit_base

MODULE = [
    *('"""A module."""', "", "", "def one():", '    """Say one."""', "    return 1"),
    *[""] * 9,
    *("def two():", "    # Two.", "    return 2", ""),
]
TESTS = """\
import sys
from django import numbers
if numbers.one() != 10 or {checks_two} and numbers.two() != 20:
    sys.exit("FAIL: test_numbers (polls.tests)")
"""


@pytest.mark.parametrize(("checks_two", "needed"), [(True, True), (False, False)])
def test_hunks(
    fork: Fork, capsys: pytest.CaptureFixture[str], checks_two: bool, needed: bool
) -> None:
    checkout.make(fork)
    commit_base(fork, {"django/numbers.py": "\n".join(MODULE)})
    text = "\n".join(MODULE).replace("1", "10").replace("return 2", "return 20")
    files = {
        "django/numbers.py": text,
        "tests/runtests.py": TESTS.format(checks_two=checks_two),
    }
    commit(fork.django, "Changed the numbers.", files)
    export(fork)
    assert hunks.check(fork) is needed
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith("1/2 django/numbers.py") and first.endswith("test_numbers")
    assert second.endswith("test_numbers" if needed else "NO TEST FAILS")


def test_words_only(fork: Fork, capsys: pytest.CaptureFixture[str]) -> None:
    checkout.make(fork)
    files = {"django/numbers.py": "\n".join(MODULE), "tests/runtests.py": ""}
    commit_base(fork, files)
    text = "\n".join(MODULE).replace("Say one", "Return one").replace("# Two", "# 2")
    commit(fork.django, "Changed words.", {"django/numbers.py": text})
    assert hunks.check(fork)
    assert capsys.readouterr().out.count("words only") == 2
