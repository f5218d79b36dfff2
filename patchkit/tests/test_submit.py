"""The branch in the user's clone: all or nothing, and nothing is anything else."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchkit import KitError, checkout
from patchkit.fork import Fork
from patchkit.git import git
from patchkit.series import export
from patchkit.submit import submit as _submit
from patchkit.tests.conftest import FILES, commit, commit_base, snapshot
from patchkit.tests.test_pull_request import CHECK, TEMPLATE
from tests_ticket31997.patience import PATIENCE

MODULE = "".join(f"LINE_{number} = {number}\n" for number in range(40))
DJANGO = {
    **FILES,
    "django/module.py": MODULE,
    "docs/lint.py": "",
    "tests/polls/tests.py": "",
    ".github/pull_request_template.md": TEMPLATE,
    "scripts/pr_quality/check_pr.py": CHECK,
    "tests/runtests.py": """\
import sys
from django import module
sys.exit(f"{sys.argv[1:]} {module.LINE_5}" if module.LINE_5 == "fails" else 0)
""",
}
MESSAGE = "Fixed #31997 -- Changed a number.\n\nBecause it was wrong."
LETTER = "# Fixed #31997 -- Changed a number.\n\nIt was wrong, and now it's right.\n"
NAME, EMAIL = "Some Body", "somebody@example.org"


def submit(fork: Fork, clone: Path, **options: Any) -> Path | None:
    """Submit as somebody who can make every statement."""
    defaults: dict[str, Any] = {
        **{"base": "main", "disclosure": "none", "confirm": lambda words: True},
        **{"ticket": "31997", "update": False, "dry_run": False, "max_age": 30},
    }
    return _submit(fork, str(clone), **defaults | options)


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
    fork.write_state(state._replace(base=base))
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
    text = submit(fork, clone)
    assert text and text.read_text().startswith("#### Trac ticket number\nticket-31997")
    log = ("log", "--format=%an <%ae> %s", "main..ticket_31997")
    assert run(clone, *log) == f"{NAME} <{EMAIL}> Fixed #31997 -- Changed a number."
    assert "LINE_5 = 50\n" in run(clone, "show", "ticket_31997:django/module.py")
    run(clone, "branch", "-D", "ticket_31997")
    after = everything(clone)
    assert after[:5] == before[:5]


def test_another_ticket(
    fork: Fork, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = fork.patches_dir / "cover-letter.md"
    letter.write_text(LETTER + "Ticket 31997 was closed.\n")
    text = submit(fork, clone, ticket="4321")
    assert text
    body = text.read_text()
    assert body.startswith("#### Trac ticket number\nticket-4321\n")
    # It's what happened.
    assert "Ticket 31997 was closed.\n" in body
    subject = run(clone, "log", "-1", "--format=%s", "ticket_4321")
    assert subject == "Fixed #4321 -- Changed a number."
    output = capsys.readouterr().out
    assert "Applying 1/1 0001-Fixed-4321-Changed-a-number.patch" in output
    assert " push fork ticket_4321\n" in output
    assert "--title 'Fixed #4321 -- Changed a number.'" in output
    assert "31997" not in run(clone, "for-each-ref")
    with pytest.raises(KitError, match="TICKET is the number of a ticket, not '#1'"):
        submit(fork, clone, ticket="#1")


def test_dry_run(fork: Fork, clone: Path) -> None:
    before = everything(clone)
    assert submit(fork, clone, dry_run=True) is None
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


def no_check(clone: Path) -> None:
    change_main(clone, {"scripts/pr_quality/check_pr.py": "main = None\n"})


def no_main(clone: Path) -> None:
    run(clone, "branch", "-D", "main")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (dirty, "uncommitted changes"),
        (untracked, "uncommitted changes"),
        (branch_present, "has a branch ticket_31997 already. UPDATE=1 replaces it"),
        (no_check, "pr_quality/check_pr.py can't be run"),
        (detached, "HEAD is detached"),
        (conflicting, r"does not apply to clone .*:\n  django/module.py:\d+\n"),
        (failing, r"runtests.py .* polls fails: see above"),
        (badly_formatted, "Django's linters complain"),
        (no_template, "is it too old"),
        (no_main, "is not a clone of Django with a commit main"),
    ],
)
def test_refused(
    fork: Fork, clone: Path, prepare: Callable[[Path], None], message: str
) -> None:
    prepare(clone)
    before = everything(clone)
    with pytest.raises(KitError, match=message):
        submit(fork, clone)
    assert everything(clone) == before
    assert not (fork.fork / "pull-request.md").exists()


def test_old_base(fork: Fork, clone: Path) -> None:
    with pytest.raises(KitError, match="days old"):
        submit(fork, clone, max_age=0)


def test_no_identity(fork: Fork, clone: Path, user: Path) -> None:
    user.write_text("")
    with pytest.raises(KitError, match="git doesn't know who you are"):
        submit(fork, clone)


def test_three_way(fork: Fork, clone: Path) -> None:
    """What has moved in main since is no obstacle."""
    change_main(clone, {"django/module.py": "# New.\n" * 3 + MODULE})
    assert submit(fork, clone)
    assert run(clone, "show", "ticket_31997:django/module.py").startswith("# New.\n")


def test_bad_message(fork: Fork, clone: Path) -> None:
    (patch,) = fork.patches()
    text = patch.read_text().replace("Changed a number.", "Change a number")
    patch.write_text(text)
    before = everything(clone)
    with pytest.raises(KitError, match="the subject isn't"):
        submit(fork, clone)
    assert everything(clone) == before


def test_open_statements(
    fork: Fork, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "A tool by the name of X wrote the tests."
    text = submit(fork, clone, disclosure=words, confirm=lambda statement: False)
    assert text
    assert text.read_text().count("- [x]") == 4
    output = capsys.readouterr().out
    summary = output[output.index("These are not ticked") :].splitlines()
    assert summary[1:5] == [
        "  - **If AI tools were used**, they are named, and all is reviewed.",
        "  - This follows the guidelines.",
        "  - No secrets.",
        "  - No automated review was requested.",
    ]
    run(clone, "branch", "-D", "ticket_31997")
    submit(fork, clone, disclosure=words)
    assert text.read_text().count("- [x]") == 8
    assert "These are not ticked" not in capsys.readouterr().out


def commands(output: str) -> list[list[str]]:
    """Return the words of the commands at the end of the output, as a shell does."""
    lines = output[output.index("Next, ") :].split("\n", 1)[1]
    joined = lines.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in joined if line.strip()]


def test_commands(fork: Fork, clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They can be pasted: with a real remote and absolute paths."""
    run(clone, "remote", "add", "origin", "https://github.com/django/django.git")
    run(clone, "remote", "add", "mine", "git@github.com:somebody/django.git")
    text = submit(fork, clone)
    push, create = commands(capsys.readouterr().out)
    assert push == ["git", "-C", str(clone), "push", "mine", "ticket_31997"]
    assert create == [
        *("gh", "pr", "create", "--head", "somebody:ticket_31997"),
        *("--repo", "django/django", "--title", "Fixed #31997 -- Changed a number."),
        *("--body-file", str(text)),
    ]


def test_commands_without_a_fork(
    fork: Fork, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(clone, "remote", "add", "origin", "https://github.com/django/django")
    submit(fork, clone)
    make, push, create = commands(capsys.readouterr().out)
    assert make[0] == "(cd" and make[3:6] == ["gh", "repo", "fork"]
    assert push[4:] == ["fork", "ticket_31997"]
    assert create[4] == "$(gh api user --jq .login):ticket_31997"


def test_update(fork: Fork, clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submit(fork, clone)
    first = run(clone, "rev-parse", "ticket_31997")
    change_main(clone, {"news.txt": "news\n"})
    before = everything(clone)
    with pytest.raises(KitError, match="UPDATE=1 replaces it"):
        submit(fork, clone)
    assert everything(clone) == before
    capsys.readouterr()
    for number in (1, 2):
        old = run(clone, "rev-parse", "ticket_31997")
        assert submit(fork, clone, update=True)
        assert run(clone, "rev-parse", f"ticket_31997-{number}") == old
        output = capsys.readouterr().out
        assert f"What it was before is ticket_31997-{number}." in output
    assert run(clone, "rev-parse", "ticket_31997-1") == first
    assert run(clone, "rev-parse", "ticket_31997^") == run(clone, "rev-parse", "main")
    push, edit = commands(output)[-2:]
    assert push[3:5] == ["push", "--force-with-lease"]
    assert edit[:3] == ["gh", "pr", "edit"]


def test_update_by_another_committer(fork: Fork, clone: Path) -> None:
    """Who commits can have another name than who writes, in the same configuration."""
    run(clone, "config", "committer.name", "Some Body's Machine")
    for update in (False, True):
        assert submit(fork, clone, update=update)
    who = run(clone, "log", "-1", "--format=%an, %cn", "ticket_31997")
    assert who == f"{NAME}, Some Body's Machine"


def not_made_by_this(clone: Path) -> None:
    run(clone, "branch", "-m", "ticket_31997", "other")
    run(clone, "branch", "ticket_31997", "other")


def commit_of_somebody_else(clone: Path) -> None:
    git(clone, "switch", "--quiet", "ticket_31997")
    commit(clone, "Reviewed.", {"django/module.py": MODULE})
    git(clone, "switch", "--quiet", "mine")


def checked_out(clone: Path) -> None:
    git(clone, "switch", "--quiet", "ticket_31997")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (not_made_by_this, "was not made by this command"),
        (
            commit_of_somebody_else,
            "a commit of somebody else, .* of ticket-31997 <",
        ),
        (checked_out, "in clone is checked out"),
    ],
)
def test_update_refused(
    fork: Fork, clone: Path, prepare: Callable[[Path], None], message: str
) -> None:
    submit(fork, clone)
    prepare(clone)
    before = everything(clone)
    with pytest.raises(KitError, match=message):
        submit(fork, clone, update=True)
    assert everything(clone) == before


def test_update_without_a_branch(fork: Fork, clone: Path) -> None:
    assert submit(fork, clone, update=True)
    assert run(clone, "branch", "--list", "ticket_31997*").split() == ["ticket_31997"]
