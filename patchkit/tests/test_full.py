"""The comparison of whole suites, on a suite that is quick."""

from pathlib import Path

import pytest

from patchkit import KitError, checkout, full, postgresql
from patchkit.fork import Fork
from patchkit.full import parse
from patchkit.tests.conftest import commit, commit_base

# Fails as Django's does: the same test in both trees, and what NEW says.
RUNTESTS = """\
import os, sys
from pathlib import Path
import polls.outcome
with open({calls!r}, "a") as file:
    print(*sys.argv[1:], os.environ["DATABASE_CONNECTION_SCOPE"], file=file)
print("Found 3 test(s).")
print(".F.", file=sys.stderr)
new = getattr(polls.outcome, os.environ["DATABASE_CONNECTION_SCOPE"], [])
for name in ["test_old (polls.Tests.test_old)", *new]:
    print("=" * 70 + f"\\nFAIL: {{name}}\\n" + "-" * 70, file=sys.stderr)
if not Path({broken!r}).exists():
    print("\\nRan 3 tests in 0.1s\\n\\nFAILED (failures=1, skipped=2)", file=sys.stderr)
sys.exit(1)
"""
NEW = "test_new (polls.Tests.test_new) [a subtest]"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Somebody's own server, which nothing here asks for anything.
    monkeypatch.setenv("PGHOST", "/somewhere")
    return tmp_path / "calls"


def make(fork: Fork, calls: Path, new: str) -> None:
    """Make a checkout in which the series brings new failures."""
    runtests = RUNTESTS.format(calls=str(calls), broken=str(calls.parent / "broken"))
    checkout.make(fork)
    commit_base(fork, {"tests/runtests.py": runtests, "tests/polls/outcome.py": ""})
    commit(fork.django, "Series.", {"tests/polls/outcome.py": new or "# None.\n"})


def test_no_new_failure(
    fork: Fork, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(fork, calls, "")
    assert full.check(fork)
    assert len(calls.read_text().splitlines()) == 6
    output = capsys.readouterr().out
    for title in ("sqlite, unpatched", 'postgresql, patched, "thread"'):
        assert f" {title} " in output.replace("\n", " ")
    # All is kept, until what a run depends on changes.
    assert full.check(fork)
    assert len(calls.read_text().splitlines()) == 6
    commit(fork.django, "Docs.", {"docs/new.txt": "New.\n"})
    assert full.check(fork)
    assert len(calls.read_text().splitlines()) == 6
    commit(fork.django, "Code.", {"django/new.py": ""})
    assert full.check(fork)
    assert len(calls.read_text().splitlines()) == 6 + 4
    assert full.check(fork, again=True)
    assert len(calls.read_text().splitlines()) == 6 + 4 + 6


def test_new_failure(
    fork: Fork, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(fork, calls, f"thread = [{NEW!r}]\n")
    assert not full.check(fork)
    output = capsys.readouterr().out
    for database in ("sqlite", "postgresql"):
        assert f'{database}, patched, "thread": FAIL: {NEW}\n' in output
    assert 'patched, "context": FAIL' not in output


def test_interrupted(fork: Fork, calls: Path) -> None:
    make(fork, calls, "")
    broken = calls.parent / "broken"
    broken.touch()
    with pytest.raises(KitError, match="sqlite, unpatched: the suite broke off"):
        full.check(fork)
    broken.unlink()
    assert full.check(fork)
    lines = calls.read_text().splitlines()
    assert len(lines) == 1 + 6
    assert sum("settings.full_postgresql" in line for line in lines) == 3
    assert [line.split()[-1] for line in lines[1:4]] == ["context"] * 2 + ["thread"]


def test_parse() -> None:
    assert parse("Found 3 test(s).\n...\n") is None
    output = "...\nRan 3 tests in 0.1s\n\nOK\n"
    assert parse(output) == (3, 0, set())
    output = (
        "ERROR: a (x.Y.a)\nFAIL: b (x.Y.b) (n=<object object at 0x7fed8341b280>)\n"
        "FAIL: b (x.Y.b) (n=<object object at 0x7fed8341b280>)\n"
        "\nRan 1,2\nRan 18361 tests in 576.473s\n\n"
        "FAILED (failures=10, errors=1, skipped=1429, expected failures=7)\n"
    )
    failures = {"ERROR: a (x.Y.a)", "FAIL: b (x.Y.b) (n=<object object>)"}
    assert parse(output) == (18361, 1429, failures)


def test_local_server_is_wanted_before_anything_runs(
    fork: Fork, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(fork, calls, "")
    monkeypatch.delenv("PGHOST")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(postgresql, "DEBIAN", Path("/nowhere"))
    with pytest.raises(KitError, match="No PostgreSQL is installed here"):
        full.check(fork)
    assert not calls.exists()
