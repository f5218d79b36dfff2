"""The checkout: made whole or not at all, and never over unexported work."""

import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from patchkit import KitError, checkout
from patchkit.fork import Fork
from patchkit.git import git
from patchkit.series import export
from patchkit.tests.conftest import commit, run_python, snapshot

# What there is with a checkout.
FILES = {".cache", ".lock", "base", "base.toml", "django"}


def subjects(tree: Path) -> list[str]:
    return git(tree, "log", "--format=%s").splitlines()


def assert_whole(fork: Fork) -> None:
    """Both trees are there, clean, linked, and what patches/ says."""
    skeleton = "Added the skeleton of the 6.2 release notes."
    assert subjects(fork.base) == [skeleton, "upstream"]
    assert len(subjects(fork.django)) == 2 + len(fork.patches())
    for tree, branch in ((fork.base, "base"), (fork.django, "ticket_31997")):
        assert git(tree, "status", "--porcelain") == ""
        assert git(tree, "rev-parse", "--abbrev-ref", "HEAD") == branch
        link = tree / "tests" / "tests_ticket31997"
        assert link.resolve() == fork.root / "tests_ticket31997"
        assert not link.readlink().is_absolute()
    names = {path.name for path in fork.fork.iterdir()}
    assert names == FILES


def test_both_trees_are_made(series: Fork) -> None:
    assert_whole(series)
    assert "line five" in (series.django / "django" / "module.py").read_text()
    assert "line five" not in (series.base / "django" / "module.py").read_text()


def test_nothing_is_done_when_nothing_changed(series: Fork) -> None:
    inode = series.django.stat().st_ino
    assert not checkout.make(series)
    assert series.django.stat().st_ino == inode


def test_the_ids_of_commits_are_the_same_everywhere(
    series: Fork, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.remove(series)
    checkout.make(series)
    tip = git(series.django, "rev-parse", "HEAD")
    checkout.remove(series)
    # As inside a git hook, with an identity and a time zone of one's own.
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-02-02T02:02:02")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    checkout.make(series)
    monkeypatch.undo()
    assert git(series.django, "rev-parse", "HEAD") == tip


def test_a_changed_patch_rebuilds(series: Fork) -> None:
    patch = series.patches()[1]
    patch.write_text(patch.read_text().replace("thirty-five", "35!"))
    assert checkout.make(series)
    assert "line 35!" in (series.django / "django" / "module.py").read_text()
    assert_whole(series)


def test_a_changed_pin_rebuilds(series: Fork) -> None:
    with series.pin.open("a") as file:
        file.write("# A comment.\n")
    assert checkout.make(series)
    assert_whole(series)


def dirty(fork: Fork) -> None:
    (fork.django / "django" / "module.py").write_text("changed\n")


def untracked(fork: Fork) -> None:
    (fork.django / "django" / "new.py").write_text("new\n")


def dirty_base(fork: Fork) -> None:
    (fork.base / "django" / "module.py").write_text("changed\n")


def committed(fork: Fork) -> None:
    commit(fork.django, "Work.", {"django/new.py": "new\n"})


def on_another_branch(fork: Fork) -> None:
    git(fork.django, "switch", "--quiet", "-c", "aside")
    committed(fork)
    git(fork.django, "switch", "--quiet", "ticket_31997")


def stashed(fork: Fork) -> None:
    dirty(fork)
    git(fork.django, "stash")


def detached_in_base(fork: Fork) -> None:
    git(fork.base, "switch", "--quiet", "--detach")
    commit(fork.base, "Work.", {"django/new.py": "new\n"})


def worktree(fork: Fork) -> None:
    git(fork.django, "worktree", "add", "--quiet", str(fork.root / "more"), "base^0")


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (dirty, "uncommitted changes in django-fork/django"),
        (untracked, "uncommitted changes in django-fork/django"),
        (dirty_base, "uncommitted changes in django-fork/base"),
        (committed, "1 commit"),
        (on_another_branch, "1 commit"),
        (stashed, "commit"),
        (detached_in_base, "1 commit"),
        (worktree, "a worktree of it at more"),
    ],
)
def test_unexported_work_is_never_overwritten(
    series: Fork, work: object, message: str
) -> None:
    assert callable(work)
    work(series)
    series.pin.write_text(series.pin.read_text() + "# A comment.\n")
    before = snapshot(series.django), snapshot(series.base)
    with pytest.raises(KitError, match=message) as e:
        checkout.make(series)
    assert "make export" in str(e.value)
    with pytest.raises(KitError, match=message):
        checkout.remove(series)
    after = snapshot(series.django), snapshot(series.base)
    ignored = {".git/index"}  # git status refreshes it.
    for old, new in zip(before, after, strict=True):
        assert {k: v for k, v in old.items() if k not in ignored} == {
            k: v for k, v in new.items() if k not in ignored
        }


def test_work_in_progress_is_no_reason_to_fail(series: Fork) -> None:
    committed(series)
    assert not checkout.make(series)
    assert (series.django / "django" / "new.py").exists()


def test_a_directory_of_somebody_else(fork: Fork) -> None:
    fork.django.mkdir()
    (fork.django / "file").write_text("mine")
    with pytest.raises(KitError, match="was not made by this command"):
        checkout.make(fork)
    assert (fork.django / "file").read_text() == "mine"


def test_a_patch_that_does_not_apply(series: Fork) -> None:
    tip = git(series.django, "rev-parse", "HEAD")
    patch = series.patches()[1]
    patch.write_text(patch.read_text().replace("-line 35", "-line xxxv"))
    with pytest.raises(KitError) as e:
        checkout.make(series)
    assert f"patches/{patch.name} does not apply to Django 6.1.3" in str(e.value)
    assert "django/module.py:33" in str(e.value)
    # The checkout is as it was, and nothing lies about.
    assert git(series.django, "rev-parse", "HEAD") == tip
    assert git(series.django, "status", "--porcelain") == ""
    names = {path.name for path in series.fork.iterdir()}
    assert names == FILES


def test_a_patch_that_is_none(series: Fork) -> None:
    series.patches()[0].write_text("not a patch\n")
    with pytest.raises(KitError, match=r"patches/0001-\S+ does not apply"):
        checkout.make(series)


def test_a_fuzzy_patch_does_not_apply(series: Fork) -> None:
    patch = series.patches()[0]
    patch.write_text(patch.read_text().replace(" line 3\n", " line three\n"))
    with pytest.raises(KitError, match="does not apply"):
        checkout.make(series)


KILLED_AT_OUTPUT = """
import os, signal, sys
from pathlib import Path
from patchkit import checkout
def say(message):
    if message.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
checkout.say = say
checkout.make(checkout.Fork(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("line", ["Unpacking", "Applying 1/2", "Applying 2/2"])
@pytest.mark.parametrize("first", [True, False])
def test_killed_while_working(series: Fork, line: str, first: bool) -> None:
    if first:
        checkout.remove(series)
    else:
        series.pin.write_text(series.pin.read_text() + "# A comment.\n")
    with run_python(KILLED_AT_OUTPUT, series.root, line) as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert series.django.exists() is not first
    assert checkout.make(series)
    assert_whole(series)


KILLED_AT_MOVE = """
import os, signal, sys
from pathlib import Path
from patchkit import checkout
calls = 0
def replace(*args, replace=Path.replace):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(*args)
Path.replace = replace
checkout.make(checkout.Fork(Path(sys.argv[1])))
"""


def test_killed_between_any_two_moves(series: Fork) -> None:
    kills = 0
    while True:
        series.pin.write_text(series.pin.read_text() + "# A comment.\n")
        with run_python(KILLED_AT_MOVE, series.root, kills + 1) as process:
            process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
        kills += 1
        if series.django.exists():
            # Whole: either the old one or the new one.
            assert git(series.django, "status", "--porcelain") == ""
            assert len(subjects(series.django)) == 4
        checkout.make(series)
        assert_whole(series)
    # The sdist's, the state's, the two old trees', and the two new ones'.
    assert kills == 6
    assert process.returncode == 0
    assert_whole(series)


def test_a_missing_base_is_made_again(series: Fork) -> None:
    shutil.rmtree(series.base)
    checkout.make(series)
    assert_whole(series)


def test_the_repository_moves(series: Fork, tmp_path: Path) -> None:
    moved = Fork(series.root.rename(tmp_path / "elsewhere"))
    assert not checkout.make(moved)
    assert_whole(moved)
    commit(moved.django, "Work.", {"django/new.py": "new\n"})
    assert [line.split()[0] for line in export(moved)] == ["wrote"]


@pytest.mark.parametrize("rev", ["", "@stable", "@HEAD~1"])
def test_upstream(series: Fork, clone: Path, rev: str) -> None:
    before = snapshot(clone)
    assert checkout.make(series, f"{clone}{rev}")
    assert snapshot(clone) == before
    assert not checkout.make(series, f"{clone}{rev}")
    notes = (series.django / "docs" / "releases" / "6.2.txt").read_text()
    if rev == "@HEAD~1":
        assert notes.startswith("====")
        assert subjects(series.base)[0].startswith("Added the skeleton")
    else:
        assert notes == "Real notes\n"
        assert subjects(series.base)[0] == "Notes."
    assert subjects(series.django)[:2] == ["Changed another.", "Changed a line."]
    assert export(series) == []
    # Back to the pinned release.
    assert checkout.make(series)
    assert_whole(series)


@pytest.mark.parametrize(
    ("upstream", "message"),
    [
        ("/nowhere", "there is no directory /nowhere"),
        ("{clone}@nothing", "is not a clone of Django with a commit nothing"),
        ("{clone}/..", "is not a clone of Django"),
    ],
)
def test_an_upstream_that_is_none(
    series: Fork, clone: Path, upstream: str, message: str
) -> None:
    with pytest.raises(KitError, match=message):
        checkout.make(series, upstream.format(clone=clone))
    assert_whole(series)


def test_a_file_left_by_a_test_run_is_no_work(series: Fork) -> None:
    cache = series.django / "django" / "__pycache__"
    cache.mkdir()
    (cache / "module.cpython-312.pyc").write_bytes(b"")
    assert git(series.django, "status", "--porcelain") == ""
    checkout.remove(series)
    assert not series.django.exists()
    assert not series.base.exists()


def test_removing_may_take_long(fork: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0
    rmtree = shutil.rmtree

    def slow(*args: Any, **kwargs: Any) -> None:
        nonlocal now
        rmtree(*args, **kwargs)
        now += 2 * checkout.PATIENCE

    monkeypatch.setattr(checkout, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(shutil, "rmtree", slow)
    assert checkout.make(fork)
