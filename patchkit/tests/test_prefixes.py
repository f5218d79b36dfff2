"""Which prefixes of a series are tested by themselves."""

import re

import pytest

from patchkit import suite
from patchkit.fork import BRANCH, Fork
from patchkit.git import git
from patchkit.series import export
from patchkit.tests.conftest import commit


def test_those_with_less_code(series: Fork, capsys: pytest.CaptureFixture[str]) -> None:
    commit(series.django, "Documented it.", {"docs/releases/6.1.txt": "Changed\n"})
    export(series)
    assert suite.prefixes(series)
    found = re.findall(r"== The first (\d) of (\d)", capsys.readouterr().out)
    assert found == [("1", "3")]


def test_each_is_tested_as_it_was(
    series: Fork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own files, those of the patches before it, and none of those after it."""
    seen = []

    def run(prefix: Fork, **_: object) -> bool:
        module = prefix.django / "django" / "module.py"
        ours = prefix.django / "tests" / suite.PACKAGE
        seen.append((module.read_text(), ours.resolve()))
        return False

    monkeypatch.setattr(suite, "run", run)
    assert not suite.prefixes(series)
    assert seen == [
        (
            git(series.django, "show", f"{BRANCH}~1:django/module.py") + "\n",
            series.package,
        )
    ]
