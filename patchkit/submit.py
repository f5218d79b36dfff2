"""From patches/ to a branch in the user's own clone of Django, and the PR text."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

from patchkit import (
    KitError,
    gates,
    git,
    lint,
    processes,
    pull_request,
    relative,
    say,
    series,
)
from patchkit.checkout import Upstream
from patchkit.fork import BRANCH, Fork
from patchkit.gates import TICKET
from patchkit.git import ROLE, ROLE_EMAIL, GitError
from patchkit.pull_request import Letter

# An older BASE is probably a clone that wasn't updated.
MAX_AGE = timedelta(days=30)
# What the user's configuration could add to git's work here: hooks, signatures
# that ask for a passphrase, a helper that asks for anything else.
CONFIG = ("-c", f"core.hooksPath={os.devnull}", "-c", "commit.gpgSign=false")


@dataclass(frozen=True)
class Clone:
    """The user's clone, worked on with the user's own configuration of git.

    Attributes:
        path: the clone.
        ticket: the number for the branch, the commits and the text.
    """

    path: Path
    ticket: str = TICKET

    @property
    def branch(self) -> str:
        """The branch with the series."""
        return BRANCH.replace(TICKET, self.ticket)

    @property
    def made(self) -> str:
        """The key in the configuration that says who made the branch.

        git removes and renames it with the branch.
        """
        return f"branch.{self.branch}.made-by-submit"

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run a git command as the user would.

        Args:
            arguments: the command's words, without "git".
            cwd: where, if not in the clone.

        Returns:
            What it wrote to standard output, without the last newline.

        Raises:
            GitError: the command exited with a status other than 0.
        """
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        # These may be the user's only identity, or where the configuration is.
        for name in ("GIT_CONFIG_GLOBAL", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
            env |= {name: os.environ[name]} if name in os.environ else {}
        env |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
        return git.run(cwd or self.path, (*CONFIG, *arguments), env)

    def ident(self) -> str:
        """Return the user, as "Name <email>"."""
        return re.sub(r" \d+ [+-]\d+$", "", self.git("var", "GIT_AUTHOR_IDENT"))

    def has(self, *arguments: str) -> bool:
        """Return whether a git command succeeds."""
        try:
            self.git(*arguments)
        except GitError:
            return False
        return True


def _check(clone: Clone, base: str, max_age: timedelta, *, update: bool) -> str:
    """Check that nothing stands in the way; return the commit of the base."""
    name = clone.path.name
    if clone.git("status", "--porcelain"):
        raise KitError(f"{name} has uncommitted changes: commit or stash them first.")
    if not clone.has("symbolic-ref", "--quiet", "HEAD"):
        raise KitError(
            f"HEAD is detached in {name}: finish what is under way there, and check "
            "a branch out."
        )
    try:
        commit = clone.git("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
        clone.git("cat-file", "-e", f"{commit}:django/__init__.py")
    except GitError as e:
        raise KitError(f"{name} has no commit of Django {base!r}: see BASE.") from e
    date = datetime.fromisoformat(clone.git("log", "-1", "--format=%cI", commit))
    age = datetime.now(UTC) - date
    if age > max_age:
        raise KitError(
            f"{base} in {name} is {age.days} days old. Update it: git fetch, then "
            f"BASE=origin/main or the like (or MAX_AGE=<days>)."
        )
    try:
        clone.git("-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT")
    except GitError as e:
        raise KitError(
            "git doesn't know who you are: git config --global user.name and "
            "user.email."
        ) from e
    if clone.has("rev-parse", "--verify", "--quiet", f"refs/heads/{clone.branch}"):
        if not update:
            raise KitError(
                f"{name} has a branch {clone.branch} already. UPDATE=1 replaces it, "
                "in a round of review; or rename it (git branch -m "
                f"{clone.branch} <name>)."
            )
        _check_replaceable(clone, commit)
    return commit


def _check_replaceable(clone: Clone, base: str) -> None:
    """Refuse to replace a branch that isn't this command's and the user's."""
    name = clone.path.name
    if not clone.has("config", "--get", clone.made):
        raise KitError(
            f"{clone.branch} in {name} was not made by this command: rename it (git "
            f"branch -m {clone.branch} <name>) or delete it."
        )
    if f"branch refs/heads/{clone.branch}" in clone.git(
        "worktree", "list", "--porcelain"
    ):
        raise KitError(
            f"{clone.branch} is checked out in {name}: switch to another branch."
        )
    log = ("log", "--format=%h %an <%ae>%n%h %cn <%ce>", f"{base}..{clone.branch}")
    for line in clone.git(*log).splitlines():
        commit, person = line.split(" ", 1)
        if person != clone.ident():
            raise KitError(
                f"{clone.branch} in {name} has a commit of somebody else, {commit} of "
                f"{person}, that replacing it would drop from it."
            )


@contextmanager
def _worktree(clone: Clone, commit: str) -> Iterator[Path]:
    """Provide a worktree of a commit, and leave no trace of it."""
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        tree = Path(name) / "django"
        clone.git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            clone.git("worktree", "remove", "--force", str(tree))


def _apply(clone: Clone, tree: Path, patches: list[Path]) -> None:
    """Apply the patches as the user's own commits, with a three-way merge."""
    author = clone.ident()
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        for number, patch in enumerate(patches, 1):
            own = Path(name) / patch.name.replace(TICKET, clone.ticket)
            say(f"Applying {number}/{len(patches)} {own.name}")
            text = patch.read_text(encoding="utf-8")
            text = text.replace(f" #{TICKET} -- ", f" #{clone.ticket} -- ", 1)
            role = f"From: {ROLE} <{ROLE_EMAIL}>"
            own.write_text(text.replace(role, f"From: {author}", 1), encoding="utf-8")
            try:
                clone.git("am", "-3", "--quiet", "--ignore-date", str(own), cwd=tree)
            except GitError as e:
                conflicts = clone.git(
                    "diff", "--name-only", "--diff-filter=U", cwd=tree
                )
                with suppress(GitError):
                    clone.git("am", "--abort", cwd=tree)
                files = "".join(f"\n  {line}" for line in conflicts.splitlines())
                raise KitError(
                    f"patches/{patch.name} conflicts with {clone.path.name}"
                    f"{':' + files if files else '.'}\n{e.stderr.strip()}\n"
                    "Nothing was changed. Move the series first: `make rebase`."
                ) from e


def _verify(clone: Clone, tree: Path, base: str, labels: list[str]) -> None:
    """Run what Django's CI would run first.

    Raises:
        KitError: something fails.
    """
    for commit in clone.git("rev-list", "--reverse", f"{base}..HEAD", cwd=tree).split():
        message = clone.git("log", "-1", "--format=%B", commit, cwd=tree)
        if problems := gates.message_problems(message, clone.ticket):
            subject = message.splitlines()[0]
            raise KitError(f"{subject}: {'; '.join(problems)}.")
    diff = ("diff", "--name-only", "--diff-filter=d", base, "--", "*.py")
    files = clone.git(*diff, cwd=tree).splitlines()
    env = {k: v for k, v in os.environ.items() if k != "DJANGO_ALLOW_ASYNC_UNSAFE"}
    env |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    checks = [
        (linter, [sys.executable, "-m", linter, *options, *files], tree)
        for linter, *options in lint.LINTERS
    ]
    docs_lint = [sys.executable, "lint.py"]
    checks.append(("docs lint", docs_lint, tree / "docs"))
    runtests = [sys.executable, "runtests.py", "--settings=test_sqlite", *labels]
    checks.append((f"runtests.py {' '.join(labels)}", runtests, tree / "tests"))
    for what, command, cwd in checks:
        result = processes.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if result.returncode:
            raise KitError(f"{what} fails:\n{result.stdout}")
        say(f"  {what}: passed")


def submit(
    fork: Fork,
    upstream: str,
    *,
    base: str = "main",
    disclosure: str,
    confirm: Callable[[str], bool],
    ticket: str = TICKET,
    update: bool = False,
    dry_run: bool = False,
    max_age: timedelta = MAX_AGE,
) -> Path | None:
    """Make a branch with the series in a clone of Django, and the PR text.

    Nothing is pushed, and the branch that is checked out in the clone is not
    touched. Should anything fail, the clone is as it was.

    Args:
        upstream: the path of the user's clone.
        base: the branch, or other revision, in it to begin at.
        disclosure: whether AI tools were used: see pull_request.fill().
        confirm: asked whether statements are true: likewise.
        ticket: the number for the branch, the commits and the text.
        update: replace a branch that this has made. It's kept by another name.
        dry_run: do all but make the branch and write the text.
        max_age: how old the base may be.

    Returns:
        The file with the text of the pull request; None in a dry run.

    Raises:
        KitError: a check, the application of a patch, a lint or a test fails.
    """
    if not re.fullmatch(r"\d+", ticket):
        raise KitError(f"TICKET is the number of a ticket, not {ticket!r}.")
    clone = Clone(Upstream.parse(upstream).path, ticket)
    commit = _check(clone, base, max_age, update=update)
    letter = Letter.parse(
        (fork.patches_dir / "cover-letter.md").read_text(encoding="utf-8"), ticket
    )
    try:
        template = clone.git("show", f"{commit}:{pull_request.TEMPLATE}")
    except GitError as e:
        raise KitError(
            f"There is no {pull_request.TEMPLATE} at {base}: is it too old?"
        ) from e
    unsaid = []

    def ask(statement: str) -> bool:
        if not (answer := confirm(statement)):
            unsaid.append(statement)
        return answer

    fill = partial(pull_request.fill, template, letter, disclosure, ticket=ticket)
    body = fill(ask)
    complete = fill(lambda statement: True)
    patches = fork.patches()
    with _worktree(clone, commit) as tree:
        pull_request.check(tree, letter.title, complete)
        _apply(clone, tree, patches)
        _verify(clone, tree, commit, series.labels(patches))
        tip = clone.git("rev-parse", "HEAD", cwd=tree)
    if dry_run:
        say(f"A dry run: {clone.branch} was not made. All else is well.")
        return None
    text = fork.fork / "pull-request.md"
    text.write_text(body, encoding="utf-8")
    kept = _make_branch(clone, tip)
    number = f"{len(patches)} commits on {base}"
    say(f"The branch {clone.branch} is in {clone.path}, {number}.")
    if kept:
        say(f"What it was before is {kept}.")
    say(f"The text of the pull request is in {relative(text, fork.root)}.")
    if unsaid:
        say(
            "These are not ticked, as only you can say so, and Django's check closes a "
            "pull request without them (CONFIRM=yes says that they are true):"
        )
        for statement in unsaid:
            say(f"  - {statement}")
    say(
        "Next, once the ticket is accepted and assigned to you (patches/proposal.md "
        "is what to post before that):"
    )
    for command in _commands(clone, letter.title, text, update=bool(kept)):
        say(f"  {command}")
    return text


def _make_branch(clone: Clone, tip: str) -> str:
    """Make the branch, or replace it; return the name that the old one is kept by.

    It is the one change to the clone, and the last thing that can fail.
    """
    heads = clone.git("for-each-ref", "--format=%(refname:short)", "refs/heads/")
    names = heads.splitlines()
    kept = ""
    if clone.branch in names:
        numbered = (f"{clone.branch}-{number}" for number in count(1))
        kept = next(name for name in numbered if name not in names)
        clone.git("branch", "--no-track", kept, clone.branch)
    clone.git("branch", "--force", "--no-track", clone.branch, tip)
    clone.git("config", clone.made, tip)
    return kept


def _commands(clone: Clone, title: str, text: Path, *, update: bool) -> list[str]:
    """Return what to paste to push the branch and to open the pull request."""
    git_c = f"git -C {shlex.quote(str(clone.path))}"
    remote, owner = _own_remote(clone)
    commands = []
    if not remote:
        remote, owner = "fork", "$(gh api user --jq .login)"
        commands.append(
            f"(cd {shlex.quote(str(clone.path))} && "
            f"gh repo fork --remote --remote-name {remote})"
        )
    force = "--force-with-lease " * update
    commands.append(f"{git_c} push {force}{shlex.quote(remote)} {clone.branch}")
    if update:
        words = f"gh pr edit {clone.branch}"
    else:
        words = f'gh pr create --head "{owner}:{clone.branch}"'
    commands.append(
        f"{words} --repo django/django \\\n"
        f"      --title {shlex.quote(title)} --body-file {shlex.quote(str(text))}"
    )
    return commands


def _own_remote(clone: Clone) -> tuple[str, str]:
    """Return the remote of the user's own fork and its owner; "" if there is none."""
    names = clone.git("remote").splitlines()
    if clone.has("config", "--get", "remote.pushDefault"):
        names.insert(0, clone.git("config", "--get", "remote.pushDefault"))
    for name in names:
        url = clone.git("remote", "get-url", "--push", name)
        match = re.search(r"github\.com[:/]([\w-]+)/[\w.-]+$", url)
        if match and match[1] != "django":
            return name, match[1]
    return "", ""
