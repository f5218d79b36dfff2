"""The check of coverage sees a line, and a branch, that no test executes."""

import pytest

from patchkit import checkout, suite
from patchkit.fork import Fork
from patchkit.series import export
from patchkit.tests.conftest import commit

MODULE = """\
def sign(number):
    result = 0
    if number > 0:
        result = 1
    return result
"""
TESTS = """\
from django.added import sign
for number in {numbers}:
    sign(number)
"""


@pytest.mark.parametrize(
    ("numbers", "passes"), [((-1, 1), True), ((-1,), False), ((1,), False)]
)
def test_lines_and_branches(fork: Fork, numbers: tuple[int], passes: bool) -> None:
    checkout.make(fork)
    files = {
        "django/added.py": MODULE,
        "tests/runtests.py": TESTS.format(numbers=numbers),
        # The stand-in for Django isn't Python throughout.
        "django/module.py": "",
    }
    commit(fork.django, "Added a function.", files)
    export(fork)
    assert suite.cover(fork) is passes
