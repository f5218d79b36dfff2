"""The table of Django's versions: no row is dropped, and where it goes."""

import json
import sys
from pathlib import Path

import pytest

from patchkit import ROOT, KitError, shapes, tables
from patchkit.fork import Fork
from patchkit.shapes import RELEASES, Release, Run

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_every_version_of_the_ticket_is_there() -> None:
    releases = [release for release in RELEASES if not release.run.tree]
    versions = {release.run.title[:3] for release in releases}
    assert versions == {"2.2", "3.0", "3.1", "3.2", "4.2", "5.2", "6.0", "6.1"}
    for version in versions - {"2.2"}:
        assert len({r.asgiref for r in releases if r.run.title[:3] == version}) >= 2
    assert {r.run.scope for r in RELEASES if r.run.tree} == {"context", "thread"}


def test_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    release = Release(Run("2.2.28"), "", "3.8", "psycopg2-binary==2.8.6")
    assert shapes.environment(Fork(tmp_path), release) is None
    other = Release(Run("6.1.3"), "3.13.0", HERE, "")
    outcomes = [
        {"title": "one", "result": "ok"},
        {"title": "two", "result": "database is locked"},
    ]
    results = {release: [], other: outcomes}
    rendered = tables.markdown(shapes.history_table(results))
    assert rendered.splitlines() == [
        "| Django | asgiref | Python | one | two |",
        "|---|---|---|---|---|",
        "| 2.2.28 | none | 3.8 | no interpreter (Python 3.8) | "
        "no interpreter (Python 3.8) |",
        f"| 6.1.3 | 3.13.0 | {HERE} | ok | locked |",
    ]


def test_environment_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Release(shapes.CONTEXT, "", HERE, "pip")
    fork = Fork(tmp_path)
    monkeypatch.setattr(Release, "requirements", ["pip"])
    python = shapes.environment(fork, release)
    assert python and python.exists()
    marker = python.parent / "marker"
    marker.touch()
    assert shapes.environment(fork, release) == python
    assert marker.exists()
    monkeypatch.setattr(Release, "requirements", ["no-such-package-31997"])
    with pytest.raises(KitError, match="no-such-package-31997"):
        shapes.environment(fork, release)
    # It isn't taken for a whole one the next time.
    assert not list(tmp_path.rglob("requirements.txt"))


def test_pages_have_the_tables() -> None:
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    for name in shapes.TITLES:
        begin = text.index(f"<!-- history: {name} -->")
        end = text.index(f"<!-- end of history: {name}")
        rows = text[begin:end].splitlines()
        rows = [row for row in rows if row.startswith("| ") and "Django" not in row]
        titles = [row.split(" | ")[0].removeprefix("| ") for row in rows]
        assert titles == [release.run.title for release in RELEASES]


def test_words() -> None:
    outcome = json.loads('{"result": "IntegrityError: rows invisible"}')
    assert shapes.in_short(outcome) == "rows invisible"
    assert shapes.in_short({"result": "database is locked"}) == "locked"
