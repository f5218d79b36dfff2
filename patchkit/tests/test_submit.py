"""The branch in the user's clone: all or nothing, and nothing is anything else."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from patchkit import KitError, checkout
from patchkit.checkout import Fork
from patchkit.git import git
from patchkit.series import export
from patchkit.submit import submit
from patchkit.tests.conftest import FILES, commit, commit_base, snapshot
from patchkit.tests.test_gates import TEMPLATE
from tests_ticket31997.patience import PATIENCE

MODULE = "".join(f"LINE_{number} = {number}\n" for number in range(40))
DJANGO = {
    **FILES,
    "django/module.py": MODULE,
    "docs/lint.py": "",
    "tests/polls/tests.py": "",
    ".github/pull_request_template.md": TEMPLATE,
    "tests/runtests.py": """\
import sys
from django import module
sys.exit(f"{sys.argv[1:]} {module.LINE_5}" if module.LINE_5 == "fails" else 0)
""",
}
MESSAGE = "Fixed #31997 -- Changed a number.\n\nBecause it was wrong."
LETTER = "# Fixed #31997 -- Changed a number.\n\nIt was wrong, and now it's right.\n"
NAME, EMAIL = "Some Body", "somebody@example.org"


def run(clone: Path, *arguments: str) -> str:
    """Run git in the clone as its user does."""
    result = subprocess.run(
        ["git", *arguments],
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return result.stdout.strip()


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration of git: with hooks that refuse everything."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("pre-applypatch", "applypatch-msg", "post-checkout"):
        hook = hooks / name
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(
        f"[user]\nname = {NAME}\nemail = {EMAIL}\n"
        f"[core]\nhooksPath = {hooks}\n[commit]\ngpgSign = true\n"
    )
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return config


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of "Django" with a branch checked out that isn't main."""
    tree = tmp_path / "clone"
    tree.mkdir()
    git(tree, "init", "--quiet", "--initial-branch=main")
    commit(tree, "First.", DJANGO)
    git(tree, "switch", "--quiet", "--create", "mine")
    commit(tree, "Mine.", {"mine.txt": "mine\n"})
    return tree


@pytest.fixture
def fork(fork: Fork) -> Fork:
    """A repository with a series of one patch, and the letter."""
    checkout.make(fork)
    commit_base(fork, DJANGO)
    commit(
        fork.django,
        MESSAGE,
        {
            "django/module.py": MODULE.replace("LINE_5 = 5", "LINE_5 = 50"),
            "tests/polls/tests.py": "assert True\n",
        },
    )
    state = fork.read_state()
    assert state
    base = git(fork.base, "rev-parse", "HEAD")
    fork.write_state(replace(state, base=base))
    export(fork)
    (fork.patches_dir / "cover-letter.md").write_text(LETTER)
    return fork


def everything(clone: Path) -> tuple[str, ...]:
    """Return all that must not change in a clone."""
    return (
        run(clone, "status", "--porcelain", "--branch"),
        run(clone, "for-each-ref"),
        run(clone, "worktree", "list"),
        run(clone, "stash", "list"),
        run(clone, "rev-parse", "HEAD"),
        str(sorted(snapshot(clone / ".git" / "logs").items())),
    )


def test_branch_and_text(fork: Fork, clone: Path) -> None:
    before = everything(clone)
    text = submit(fork, str(clone), disclosure="none")
    assert text and text.read_text().startswith("#### Trac ticket number\nticket-31997")
    log = ("log", "--format=%an <%ae> %s", "main..ticket_31997")
    assert run(clone, *log) == f"{NAME} <{EMAIL}> Fixed #31997 -- Changed a number."
    assert "LINE_5 = 50\n" in run(clone, "show", "ticket_31997:django/module.py")
    run(clone, "branch", "-D", "ticket_31997")
    after = everything(clone)
    assert after[:5] == before[:5]


def test_dry_run(fork: Fork, clone: Path) -> None:
    before = everything(clone)
    assert submit(fork, str(clone), disclosure="none", dry_run=True) is None
    assert everything(clone) == before
    assert not (fork.fork / "pull-request.md").exists()


def dirty(clone: Path) -> None:
    (clone / "mine.txt").write_text("changed\n")


def untracked(clone: Path) -> None:
    (clone / "new.txt").touch()


def branch_present(clone: Path) -> None:
    run(clone, "branch", "ticket_31997")


def detached(clone: Path) -> None:
    git(clone, "checkout", "--quiet", "--detach")


def change_main(clone: Path, files: dict[str, str]) -> None:
    git(clone, "switch", "--quiet", "main")
    commit(clone, "Something else.", files)
    git(clone, "switch", "--quiet", "mine")


def conflicting(clone: Path) -> None:
    text = MODULE.replace("LINE_5 = 5", "LINE_5 = 500")
    change_main(clone, {"django/module.py": text})


def failing(clone: Path) -> None:
    program = "import sys\nsys.exit('one test fails')\n"
    change_main(clone, {"tests/runtests.py": program})


def badly_formatted(clone: Path) -> None:
    text = MODULE.replace("LINE_30 = 30", "LINE_30=30")
    change_main(clone, {"django/module.py": text})


def no_template(clone: Path) -> None:
    git(clone, "switch", "--quiet", "main")
    git(clone, "rm", "--quiet", ".github/pull_request_template.md")
    git(clone, "commit", "--quiet", "--message", "No template.")
    git(clone, "switch", "--quiet", "mine")


def no_main(clone: Path) -> None:
    run(clone, "branch", "-D", "main")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (dirty, "uncommitted changes"),
        (untracked, "uncommitted changes"),
        (branch_present, "has a branch ticket_31997 already"),
        (detached, "HEAD is detached"),
        (conflicting, r"conflicts with clone:\n  django/module.py"),
        (failing, "one test fails"),
        (badly_formatted, "black fails"),
        (no_template, "is it too old"),
        (no_main, "has no commit of Django 'main'"),
    ],
)
def test_refused(
    fork: Fork, clone: Path, prepare: Callable[[Path], None], message: str
) -> None:
    prepare(clone)
    before = everything(clone)
    with pytest.raises(KitError, match=message):
        submit(fork, str(clone), disclosure="none")
    assert everything(clone) == before
    assert not (fork.fork / "pull-request.md").exists()


def test_old_base(fork: Fork, clone: Path) -> None:
    with pytest.raises(KitError, match="days old"):
        submit(fork, str(clone), disclosure="none", max_age=timedelta(0))


def test_no_identity(fork: Fork, clone: Path, user: Path) -> None:
    user.write_text("")
    with pytest.raises(KitError, match="git doesn't know who you are"):
        submit(fork, str(clone), disclosure="none")


def test_three_way(fork: Fork, clone: Path) -> None:
    """What has moved in main since is no obstacle."""
    change_main(clone, {"django/module.py": "# New.\n" * 3 + MODULE})
    assert submit(fork, str(clone), disclosure="none")
    assert run(clone, "show", "ticket_31997:django/module.py").startswith("# New.\n")


def test_bad_message(fork: Fork, clone: Path) -> None:
    (patch,) = fork.patches()
    text = patch.read_text().replace("Changed a number.", "Change a number")
    patch.write_text(text)
    before = everything(clone)
    with pytest.raises(KitError, match="the subject isn't"):
        submit(fork, str(clone), disclosure="none")
    assert everything(clone) == before
