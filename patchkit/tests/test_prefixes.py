"""Which prefixes of a series are tested by themselves."""

import re

import pytest

from patchkit import suite
from patchkit.fork import Fork
from patchkit.series import export
from patchkit.tests.conftest import commit


def test_those_with_less_code(series: Fork, capsys: pytest.CaptureFixture[str]) -> None:
    commit(series.django, "Documented it.", {"docs/releases/6.1.txt": "Changed\n"})
    export(series)
    assert suite.prefixes(series)
    found = re.findall(r"== The first (\d) of (\d)", capsys.readouterr().out)
    assert found == [("1", "3")]
