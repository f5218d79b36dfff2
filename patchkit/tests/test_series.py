"""The series: exporting is the inverse of making the checkout."""

from pathlib import Path

import pytest

from patchkit import ROOT, KitError, checkout
from patchkit.fork import Fork
from patchkit.git import git
from patchkit.series import export, labels, modules
from patchkit.tests.conftest import FILES, commit, snapshot


def test_an_untouched_checkout_changes_no_byte(series: Fork) -> None:
    before = snapshot(series.patches_dir)
    assert len(before) == 2
    checkout.remove(series)
    checkout.make(series)
    assert export(series) == []
    assert snapshot(series.patches_dir) == before


def test_on_another_base_either(series: Fork, clone: Path) -> None:
    lines = "A line more.\n" + FILES["django/module.py"]
    commit(clone, "Shifted all lines.", {"django/module.py": lines})
    before = snapshot(series.patches_dir)
    checkout.make(series, str(clone))
    assert export(series) == []
    assert snapshot(series.patches_dir) == before
    # There they would be other bytes, if somebody had made the commits anew.
    state = series.read_state()
    assert state
    series.write_state(state._replace(tip=state.base))
    assert len(export(series)) == 2


def test_a_hand_made_patch_becomes_canonical(series: Fork) -> None:
    before = snapshot(series.patches_dir)
    patch = series.patches()[0]
    lines = patch.read_text().splitlines(keepends=True)
    hand_made = [line for line in lines if not line.startswith("index ")]
    patch.write_text("".join(hand_made))
    checkout.make(series)
    assert export(series) == [f"wrote patches/{patch.name}"]
    assert snapshot(series.patches_dir) == before


def test_the_repositorys_own_series_makes_the_round_trip(tmp_path: Path) -> None:
    ours = Fork(ROOT)
    fork = ours.copy(tmp_path / "repository", ours.patches())
    before = snapshot(fork.patches_dir)
    assert before
    checkout.make(fork)
    assert export(fork) == []
    assert snapshot(fork.patches_dir) == before


def test_patches_say_nothing_of_the_machine(series: Fork) -> None:
    for patch in series.patches():
        text = patch.read_text()
        assert text.startswith(f"From {'0' * 40} ")
        assert "\nFrom: ticket-31997 <ticket-31997@example.com>\n" in text
        assert "\nSubject: [PATCH] Changed " in text
        # No version of git at the end, and whole ids in between.
        assert "\n-- \n" not in text
        assert str(series.root) not in text


def test_new_changed_and_removed_patches(series: Fork) -> None:
    first, second = series.patches()
    git(series.django, "reset", "--quiet", "--hard", "HEAD~1")
    commit(series.django, "Did something else.", {"django/new.py": "new\n"})
    assert export(series) == [
        f"removed patches/{second.name}",
        "wrote patches/0002-Did-something-else.patch",
    ]
    assert [p.name for p in series.patches()] == [
        first.name,
        "0002-Did-something-else.patch",
    ]
    # What was exported is what the checkout is made from.
    assert not checkout.make(series)
    assert checkout.unexported(series) == []


def test_all_patches_removed(series: Fork) -> None:
    git(series.django, "reset", "--quiet", "--hard", "base")
    assert len(export(series)) == 2
    assert series.patches() == []


def test_other_files_stay(series: Fork) -> None:
    (series.patches_dir / "cover.md").write_text("Cover\n")
    git(series.django, "reset", "--quiet", "--hard", "base")
    export(series)
    assert [p.name for p in series.patches_dir.iterdir()] == ["cover.md"]


def test_uncommitted_changes_are_told(
    series: Fork, capsys: pytest.CaptureFixture[str]
) -> None:
    (series.django / "django" / "new.py").write_text("new\n")
    assert export(series) == []
    assert "are not exported: only commits are" in capsys.readouterr().out


def other_author(fork: Fork) -> None:
    git(fork.django, "config", "user.name", "Somebody")
    env = {"GIT_AUTHOR_NAME": "Somebody"}
    git(fork.django, "commit", "--amend", "--no-edit", "--reset-author", env=env)


def merge(fork: Fork) -> None:
    git(fork.django, "switch", "--quiet", "-c", "aside", "HEAD~1")
    commit(fork.django, "Aside.", {"django/new.py": "new\n"})
    git(fork.django, "switch", "--quiet", "ticket_31997")
    git(fork.django, "merge", "--quiet", "--no-edit", "aside")


def moved_base(fork: Fork) -> None:
    git(fork.django, "reset", "--quiet", "--hard", "base^")
    commit(fork.django, "On another base.", {"django/new.py": "new\n"})


def other_branch(fork: Fork) -> None:
    git(fork.django, "switch", "--quiet", "--detach")


def rebasing(fork: Fork) -> None:
    (fork.django / ".git" / "rebase-merge").mkdir()


def edited_patch(fork: Fork) -> None:
    patch = fork.patches()[0]
    patch.write_text(patch.read_text().replace("line five", "line V"))


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (other_author, "is not the role ticket-31997"),
        (merge, "can't hold merge commits"),
        (moved_base, "doesn't begin at the base"),
        (other_branch, "is not on its branch"),
        (rebasing, "rebase or git am is under way"),
        (edited_patch, "patches/ has changed since"),
    ],
)
def test_what_is_no_series_is_refused(
    series: Fork, trouble: object, message: str
) -> None:
    assert callable(trouble)
    trouble(series)
    before = snapshot(series.patches_dir)
    with pytest.raises(KitError, match=message):
        export(series)
    assert snapshot(series.patches_dir) == before


def test_nothing_to_export(fork: Fork) -> None:
    with pytest.raises(KitError, match="make checkout"):
        export(fork)


def test_labels(series: Fork) -> None:
    assert modules(series.patches()) == ["polls.tests"]
    assert labels(series.patches()) == ["polls"]
