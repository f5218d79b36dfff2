"""From patches/ to a branch in the user's own clone of Django, and the PR text."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from patchkit import KitError, gates, git, lint, processes, relative, say, series
from patchkit.checkout import BRANCH, Fork, Upstream
from patchkit.git import ROLE, ROLE_EMAIL, GitError

# An older BASE is probably a clone that wasn't updated.
MAX_AGE = timedelta(days=30)
TEMPLATE = ".github/pull_request_template.md"
# What the user's configuration could add to git's work here: hooks, signatures
# that ask for a passphrase, a helper that asks for anything else.
CONFIG = ("-c", f"core.hooksPath={os.devnull}", "-c", "commit.gpgSign=false")


@dataclass(frozen=True)
class Clone:
    """The user's clone, worked on with the user's own configuration of git.

    Attributes:
        path: the clone.
    """

    path: Path

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

    def has(self, *arguments: str) -> bool:
        """Return whether a git command succeeds."""
        try:
            self.git(*arguments)
        except GitError:
            return False
        return True


def _check(clone: Clone, base: str, max_age: timedelta) -> str:
    """Check that nothing stands in the way; return the commit of the base."""
    name = clone.path.name
    if clone.git("status", "--porcelain"):
        raise KitError(f"{name} has uncommitted changes: commit or stash them first.")
    if not clone.has("symbolic-ref", "--quiet", "HEAD"):
        raise KitError(
            f"HEAD is detached in {name}: finish what is under way there, and check "
            "a branch out."
        )
    if clone.has("rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}"):
        raise KitError(
            f"{name} has a branch {BRANCH} already. Rename it (git branch -m {BRANCH} "
            "<name>) or delete it."
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
    return commit


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
    ident = clone.git("var", "GIT_AUTHOR_IDENT")
    author = re.sub(r" \d+ [+-]\d+$", "", ident)
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        for number, patch in enumerate(patches, 1):
            say(f"Applying {number}/{len(patches)} {patch.name}")
            text = patch.read_text(encoding="utf-8")
            own = Path(name) / patch.name
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
        if problems := gates.message_problems(message):
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
    dry_run: bool = False,
    max_age: timedelta = MAX_AGE,
) -> Path | None:
    """Make a branch with the series in a clone of Django, and the PR text.

    Nothing is pushed, and the branch that is checked out in the clone is not
    touched. Should anything fail, the clone is as it was.

    Args:
        fork: the repository.
        upstream: the path of the user's clone.
        base: the branch, or other revision, in it to begin at.
        disclosure: whether AI tools were used: see gates.fill().
        dry_run: do all but make the branch and write the text.
        max_age: how old the base may be.

    Returns:
        The file with the text of the pull request; None in a dry run.

    Raises:
        KitError: a check, the application of a patch, a lint or a test fails.
    """
    clone = Clone(Upstream.parse(upstream).path)
    commit = _check(clone, base, max_age)
    letter = gates.Letter.parse(
        (fork.patches_dir / "cover-letter.md").read_text(encoding="utf-8")
    )
    try:
        template = clone.git("show", f"{commit}:{TEMPLATE}")
    except GitError as e:
        raise KitError(f"There is no {TEMPLATE} at {base}: is it too old?") from e
    body = gates.fill(template, letter, disclosure)
    if problems := gates.body_problems(letter.title, body):
        raise KitError(f"The pull request wouldn't pass: {'; '.join(problems)}.")
    patches = fork.patches()
    with _worktree(clone, commit) as tree:
        _apply(clone, tree, patches)
        _verify(clone, tree, commit, series.labels(patches))
        tip = clone.git("rev-parse", "HEAD", cwd=tree)
    if dry_run:
        say(f"A dry run: {BRANCH} was not made. All else is well.")
        return None
    text = fork.fork / "pull-request.md"
    text.write_text(body, encoding="utf-8")
    # The one change to the clone, and the last thing that can fail.
    clone.git("branch", "--no-track", BRANCH, tip)
    file = relative(text, fork.root)
    say(
        f"The branch {BRANCH} is in {clone.path.name}, {len(patches)} commits on "
        f"{base}. The text of the pull request is in {file}: read its checklist, it "
        "speaks for you.\n"
        "Next, once the ticket is accepted and assigned to you (patches/proposal.md "
        "is what to post before that):\n"
        f"  git -C {shlex.quote(upstream)} push <your fork> {BRANCH}\n"
        f"  gh pr create --repo django/django --head <you>:{BRANCH} \\\n"
        f"      --title {shlex.quote(letter.title)} --body-file {file}"
    )
    return text
