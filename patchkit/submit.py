"""From patches/ to a branch in the user's own clone of Django, and the PR text."""

import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from patchkit import KitError, git, processes, pull_request, relative, say, series
from patchkit.checkout import find_upstream
from patchkit.fork import BRANCH, Fork
from patchkit.git import ROLE, ROLE_EMAIL, GitError
from patchkit.pull_request import TICKET
from patchkit.suite import lint

# In seconds.
DAY = 24 * 60 * 60
# Of git's variables, those that may be the user's only identity, or say where the
# configuration is.
OWN = ("GIT_CONFIG_GLOBAL", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL")
# What to do if a patch doesn't apply.
ADVICE = "Nothing was changed. Move the series first: `make rebase`."
# What the user's configuration could add to git's work here: hooks, signatures
# that ask for a passphrase, a helper that asks for anything else.
CONFIG = (f"core.hooksPath={os.devnull}", "commit.gpgSign=false")


@dataclass(frozen=True)
class Clone:
    """The user's clone, worked on with the user's own configuration of git.

    Attributes:
        path: the clone.
        ticket: the number for the branch, the commits and the text.
        branch: the one with the series.
    """

    path: Path
    ticket: str
    branch: str

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
        own = {name: os.environ[name] for name in OWN if name in os.environ}
        return git.run(cwd or self.path, arguments, CONFIG, own)

    def ident(self, role: str = "AUTHOR") -> str:
        """Return the user as an "AUTHOR" or a "COMMITTER", as "Name <email>".

        Raises:
            KitError: the configuration doesn't say who it is.
        """
        try:
            known = ("-c", "user.useConfigOnly=true") if role == "AUTHOR" else ()
            ident = self.git(*known, "var", f"GIT_{role}_IDENT")
        except GitError as e:
            what = "git doesn't know who you are: git config user.name and user.email."
            raise KitError(what) from e
        return re.sub(r" \d+ [+-]\d+$", "", ident)

    def branches(self) -> list[str]:
        """Return the names of all branches."""
        names = ("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/")
        return self.git(*names).splitlines()


def _check(clone: Clone, base: str, commit: str, max_age: int, update: bool) -> None:
    """Check that nothing stands in the way, with the base and its commit."""
    name, branch = clone.path.name, clone.branch
    if clone.git("status", "--porcelain"):
        raise KitError(f"{name} has uncommitted changes: commit or stash them first.")
    if not clone.git("branch", "--show-current"):
        raise KitError(f"HEAD is detached in {name}: finish that, check a branch out.")
    date = float(clone.git("log", "-1", "--format=%ct", commit))
    if (days := int(time.time() - date) // DAY) >= max_age:
        raise KitError(
            f"{base} in {name} is {days} days old. Update it: git fetch, then "
            "BASE=origin/main or the like (or MAX_AGE=<days>)."
        )
    own = tuple(f" of {clone.ident(role)}" for role in ("AUTHOR", "COMMITTER"))
    if branch not in clone.branches():
        return
    if not update:
        raise KitError(
            f"{name} has a branch {branch} already. UPDATE=1 replaces it, in a "
            f"round of review; or rename it (git branch -m {branch} <name>)."
        )
    what = f"{branch} in {name}"
    if not clone.git("config", "--default", "", "--get", clone.made):
        raise KitError(f"{what} was not made by this command: rename or delete it.")
    trees = clone.git("worktree", "list", "--porcelain").splitlines()
    if f"branch refs/heads/{branch}" in trees:
        raise KitError(f"{what} is checked out: switch to another branch.")
    log = ("log", "--format=%h of %an <%ae>%n%h of %cn <%ce>")
    for line in clone.git(*log, f"{commit}..{branch}").splitlines():
        if not line.endswith(own):
            raise KitError(
                f"{what} has a commit of somebody else, {line}, that replacing it "
                "would drop."
            )


@contextmanager
def _worktree(clone: Clone, commit: str) -> Iterator[Path]:
    """Provide a worktree of a commit in a directory of its own; leave no trace."""
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        tree = Path(name) / "django"
        clone.git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            clone.git("worktree", "remove", "--force", str(tree))


def _apply(clone: Clone, tree: Path, patches: list[Path]) -> None:
    """Apply the patches as the user's own commits, with a three-way merge."""
    role, author = f"From: {ROLE} <{ROLE_EMAIL}>", f"From: {clone.ident()}"
    old, new = f" #{TICKET} -- ", f" #{clone.ticket} -- "
    for number, patch in enumerate(patches, 1):
        own = tree.parent / patch.name.replace(TICKET, clone.ticket)
        say(f"Applying {number}/{len(patches)} {own.name}")
        text = patch.read_text(encoding="utf-8").replace(role, author, 1)
        own.write_text(text.replace(old, new, 1), encoding="utf-8")
        with git.applying(f"patches/{patch.name}", tree, clone.path.name, ADVICE):
            clone.git("am", "-3", "--quiet", "--ignore-date", str(own), cwd=tree)


def _verify(clone: Clone, tree: Path, base: str, labels: list[str]) -> None:
    """Run what Django's CI would run first.

    Raises:
        KitError: something fails.
    """
    for commit in clone.git("rev-list", "--reverse", f"{base}..HEAD", cwd=tree).split():
        message = clone.git("log", "-1", "--format=%B", commit, cwd=tree)
        if problems := pull_request.message_problems(message, clone.ticket):
            subject = message.splitlines()[0]
            raise KitError(f"{subject}: {'; '.join(problems)}.")
    if not lint(tree, base):
        raise KitError("Django's linters complain: see above.")
    env = {k: v for k, v in os.environ.items() if k != "DJANGO_ALLOW_ASYNC_UNSAFE"}
    env |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    runtests = ("tests", "runtests.py", "--settings=test_sqlite", *labels)
    for directory, *command in (("docs", "lint.py"), runtests):
        what = " ".join((directory, *command))
        command = [sys.executable, *command]
        if processes.run(command, cwd=tree / directory, env=env).returncode:
            raise KitError(f"{what} fails: see above.")
        say(f"  {what}: passed")


def submit(
    fork: Fork,
    upstream: str,
    *,
    base: str,
    disclosure: str,
    confirm: Callable[[str], bool],
    ticket: str,
    update: bool,
    dry_run: bool,
    max_age: int,
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
        max_age: how old the base may be, in days: an older one is probably a clone that
            wasn't updated.

    Returns:
        The file with the text of the pull request; None in a dry run.

    Raises:
        KitError: a check, the application of a patch, a lint or a test fails.
    """
    if not re.fullmatch(r"\d+", ticket):
        raise KitError(f"TICKET is the number of a ticket, not {ticket!r}.")
    path, commit = find_upstream(f"{upstream}@{base}")
    clone = Clone(path, ticket, BRANCH.replace(TICKET, ticket))
    _check(clone, base, commit, max_age, update)
    text = (fork.patches_dir / "cover-letter.md").read_text(encoding="utf-8")
    title, description = pull_request.read_letter(text, ticket)
    with _worktree(clone, commit) as tree:
        form = tree / pull_request.TEMPLATE
        if not form.exists():
            raise KitError(f"There is no {form.name} at {base}: is it too old?")
        text = form.read_text(encoding="utf-8")
        fill = partial(pull_request.fill, text, description, disclosure, ticket=ticket)
        body, complete = fill(confirm), fill(lambda statement: True)
        pull_request.check(tree, title, complete)
        patches = fork.patches()
        _apply(clone, tree, patches)
        _verify(clone, tree, commit, series.labels(patches))
        tip = clone.git("rev-parse", "HEAD", cwd=tree)
    if dry_run:
        say(f"A dry run: {clone.branch} was not made. All else is well.")
        return None
    file = fork.fork / "pull-request.md"
    file.write_text(body, encoding="utf-8")
    kept = _make_branch(clone, tip)
    say(f"The branch {clone.branch} is in {path}, {len(patches)} commits on {base}.")
    if kept:
        say(f"What it was before is {kept}.")
    say(f"The text of the pull request is in {relative(file, fork.root)}.")
    lines = zip(body.splitlines(), complete.splitlines(), strict=True)
    if unsaid := [ticked for line, ticked in lines if line != ticked]:
        say("These are not ticked, and Django's check wants all (CONFIRM=yes says so):")
        say("\n".join(ticked.replace("- [x]", "  -", 1) for ticked in unsaid))
    say("Next, once the ticket is accepted and yours (first post patches/proposal.md):")
    for command in _commands(clone, title, file, update=bool(kept)):
        say(f"  {command}")
    return file


def _make_branch(clone: Clone, tip: str) -> str:
    """Make the branch, or replace it; return the name that the old one is kept by.

    It is the one change to the clone, and the last thing that can fail.
    """
    names, kept = clone.branches(), ""
    if clone.branch in names:
        numbered = (f"{clone.branch}-{number}" for number in count(1))
        kept = next(name for name in numbered if name not in names)
        clone.git("branch", "--no-track", kept, clone.branch)
    clone.git("branch", "--force", "--no-track", clone.branch, tip)
    clone.git("config", clone.made, tip)
    return kept


def _commands(clone: Clone, title: str, text: Path, *, update: bool) -> list[str]:
    """Return what to paste to push the branch and to open the pull request."""
    path, branch = shlex.quote(str(clone.path)), clone.branch
    default = clone.git("config", "--default", "", "--get", "remote.pushDefault")
    pattern = r"^(\S+)\t\S*github\.com[:/]([\w-]+)/\S+ \(push\)$"
    remotes = re.findall(pattern, clone.git("remote", "--verbose"), re.MULTILINE)
    own = [(name, owner) for name, owner in remotes if owner != "django"]
    made = ("fork", "$(gh api user --jq .login)")
    remote, owner = min(own, key=lambda pair: pair[0] != default, default=made)
    force = "--force-with-lease " * update
    words = f"edit {branch}" if update else f'create --head "{owner}:{branch}"'
    make = f"(cd {path} && gh repo fork --remote --remote-name {remote})"
    return [
        *([] if own else [make]),
        f"git -C {path} push {force}{shlex.quote(remote)} {branch}",
        f"gh pr {words} --repo django/django \\\n"
        f"      --title {shlex.quote(title)} --body-file {shlex.quote(str(text))}",
    ]
