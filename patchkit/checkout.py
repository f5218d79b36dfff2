"""The checkout: the base with the series on it, in django-fork/.

One way only: base.toml -> verified sdist -> commit "upstream" -> commit with the
skeleton of the release notes -> git am patches/*. The way back is
patchkit.series.export().

Everything is made aside, in a directory of its own, and moved into place when it
is whole. Whatever goes wrong, a kill included, leaves django-fork/django either
as it was or absent, never half made.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from patchkit import KitError, pin, relative, say
from patchkit.fork import BASE_BRANCH, BRANCH, Fork, State
from patchkit.git import ROLE, ROLE_EMAIL, GitError, git

# Part of the key: raise it when the same inputs make another checkout.
FORMAT = 1
# How long a git process of a command that was killed may go on, in seconds.
PATIENCE = 30
# The commits below the series carry a date of their own so that their ids, and
# with them all ids in the checkout, are the same wherever it is made.
DATE = "2026-01-01T00:00:00+0000"
# What running Django's tests and building its docs leaves behind, for git in
# the checkout to ignore. (The sdist has no .gitignore.)
EXCLUDE = """\
/tests/tests_ticket31997
__pycache__/
*.egg-info/
.coverage*
/docs/_build/
"""


@dataclass(frozen=True)
class Upstream:
    """A commit of a clone of Django that the user has.

    Attributes:
        path: the clone.
        commit: the full id.
    """

    path: Path
    commit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Resolve PATH[@REV].

        Args:
            text: a clone's path, with "@" and a revision unless HEAD is meant.

        Returns:
            The clone and the commit.

        Raises:
            KitError: there is no such clone or commit, or it isn't Django's.
        """
        name, rev = text, "HEAD"
        if not Path(name).expanduser().is_dir() and "@" in text:
            name, rev = text.rsplit("@", 1)
        path = Path(name).expanduser().resolve()
        if not path.is_dir():
            raise KitError(f"UPSTREAM: there is no directory {name}.")
        try:
            commit = git(path, "rev-parse", "--verify", f"{rev}^{{commit}}")
            git(path, "cat-file", "-e", f"{commit}:django/__init__.py")
        except GitError as e:
            raise KitError(
                f"UPSTREAM: {name} is not a clone of Django with a commit {rev}.\n"
                f"{e.stderr.strip()}"
            ) from e
        return cls(path, commit)


def _digest(paths: Iterable[Path], *words: str) -> str:
    digest = hashlib.sha256("\0".join((str(FORMAT), *words, "")).encode())
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def source_digest(fork: Fork, upstream: Upstream | None = None) -> str:
    """Return a digest of what is below the series.

    Args:
        upstream: the commit used instead of the sdist.

    Returns:
        A digest in hexadecimal.
    """
    return _digest([fork.pin], upstream.commit if upstream else "sdist")


def series_digest(fork: Fork) -> str:
    """Return a digest of the patches, their names and their order.

    Returns:
        A digest in hexadecimal.
    """
    return _digest(fork.patches())


def unexported(fork: Fork, state: State | None) -> list[str]:
    """Tell what would be lost if the checkout were made again.

    Args:
        state: what the checkout was made from.

    Returns:
        A line for each kind of work that patches/ doesn't have; empty if none.
    """
    work: list[str] = []
    if not fork.django.exists():
        return work
    if state is None:
        return [f"{relative(fork.django, fork.root)} was not made by this command"]
    for tree in (fork.django, fork.base):
        if tree.exists() and git(tree, "status", "--porcelain"):
            work.append(f"uncommitted changes in {relative(tree, fork.root)}")
    # Every ref, stash and HEAD, as in the middle of a rebase.
    heads = ["--all", "HEAD"]
    worktrees = [
        Path(line.removeprefix("worktree "))
        for line in git(fork.django, "worktree", "list", "--porcelain").splitlines()
        if line.startswith("worktree ")
    ]
    if fork.base.exists():
        heads.append(git(fork.base, "rev-parse", "HEAD"))
    commits = git(fork.django, "rev-list", *heads, "--not", state.tip, state.base)
    if commits:
        count = len(commits.splitlines())
        work.append(f"{count} commit(s) or stashes that patches/ lacks")
    own = {fork.django.resolve(), fork.base.resolve()}
    work += [
        f"a worktree of it at {relative(tree, fork.root)}"
        for tree in worktrees
        if tree.resolve() not in own
    ]
    return work


def _refuse_to_lose_work(fork: Fork, state: State | None, doing: str) -> None:
    work = unexported(fork, state)
    if work:
        raise KitError(
            f"{doing} would overwrite work in {relative(fork.fork, fork.root)}:\n"
            + "".join(f"  - {line}\n" for line in work)
            + "Commit it and run `make export`, or move it elsewhere, then try again."
        )


def _remove(directory: Path) -> None:
    """Remove what a kill left behind, where a git process may still be at work."""
    deadline = time.monotonic() + PATIENCE
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists() and time.monotonic() > deadline:
            raise KitError(f"{relative(directory)} can't be removed.")


@contextmanager
def _aside(fork: Fork) -> Iterator[Path]:
    # What a kill left behind goes first: the lock is ours, so nobody uses it.
    for stale in fork.fork.glob(".build-*"):
        _remove(stale)
    directory = Path(tempfile.mkdtemp(dir=fork.fork, prefix=".build-"))
    try:
        yield directory
    finally:
        _remove(directory)


def _commit(tree: Path, message: str) -> None:
    dates = {"GIT_AUTHOR_DATE": DATE, "GIT_COMMITTER_DATE": DATE}
    git(tree, "commit", "--quiet", "--message", message, env=dates)


def _materialise(fork: Fork, tree: Path, release: pin.Pin, up: Upstream | None) -> str:
    """Make a repository of the base in an empty place; return what it is."""
    if up:
        what = f"{up.path.name} at {up.commit[:12]}"
        say(f"Copying {what}.")
        tree.mkdir()
        git(tree, "init", "--quiet")
        # One commit without its history: nothing is written to the clone, and
        # nothing in the checkout depends on it afterwards.
        source = up.path.as_uri()
        git(tree, "fetch", "--quiet", "--depth=1", "--no-tags", source, up.commit)
        git(tree, "reset", "--quiet", "--hard", up.commit)
    else:
        what = f"Django {release.version}"
        archive = pin.download(release, fork.fork / ".cache")
        say(f"Unpacking {relative(archive, fork.root)}.")
        pin.unpack(archive, tree)
        git(tree, "init", "--quiet")
        git(tree, "add", "--all", "--force")
        _commit(tree, f"upstream\n\n{what}, the sdist on PyPI.")
    git(tree, "config", "user.name", ROLE)
    git(tree, "config", "user.email", ROLE_EMAIL)
    exclude = tree / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text(EXCLUDE, encoding="utf-8")
    notes = tree / "docs" / "releases" / f"{release.next_version}.txt"
    if not notes.exists():
        notes.parent.mkdir(parents=True, exist_ok=True)
        notes.write_text(pin.release_notes(release), encoding="utf-8")
        git(tree, "add", "--force", str(notes.relative_to(tree)))
        _commit(
            tree, f"Added the skeleton of the {release.next_version} release notes."
        )
    return what


def reasons(error: GitError) -> str:
    """Return the lines in which git says which hunks don't apply, and to what."""
    lines = [
        f"  {line.removeprefix('error: ')}"
        for line in error.stderr.splitlines()
        if line.startswith(("error: ", "fatal: "))
    ]
    return "\n".join(lines) or error.stderr


def apply(tree: Path, patches: list[Path], what: str) -> None:
    """Apply patches with git am, exactly: no fuzz, no three-way merge.

    Args:
        tree: a clean git tree.
        patches: the patches in order.
        what: the tree's name for messages, such as "Django 6.1.3".

    Raises:
        KitError: one doesn't apply; names the patch and its hunks. The tree is
            left at the last patch that did.
    """
    for number, patch in enumerate(patches, 1):
        say(f"Applying {number}/{len(patches)} {patch.name}")
        try:
            git(tree, "am", "--quiet", "--committer-date-is-author-date", str(patch))
        except GitError as e:
            # It may not have got as far as to have anything to abort.
            with suppress(GitError):
                git(tree, "am", "--abort")
            raise KitError(
                f"patches/{patch.name} does not apply to {what} "
                f"(file:line of each hunk that fails):\n{reasons(e)}\n"
                f"Mend the patch, or move the series to this base by hand: "
                f"CONTRIBUTING.md tells how."
            ) from e


def _link(fork: Fork, tree: Path) -> None:
    link = tree / "tests" / "tests_ticket31997"
    target = Path(os.path.relpath(fork.root / "tests_ticket31997", link.parent))
    if link.is_symlink() and link.readlink() == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _ensure_base(fork: Fork) -> None:
    if not (fork.base / ".git").exists():
        # Made aside and moved, like the checkout itself.
        partial = fork.fork / ".build-base"
        _remove(partial)
        _remove(fork.base)
        git(fork.django, "worktree", "prune")
        git(fork.django, "worktree", "add", "--quiet", str(partial), BASE_BRANCH)
        partial.replace(fork.base)
    _repair(fork)


def _repair(fork: Fork) -> None:
    # git keeps absolute paths in both directions; the repository may have moved.
    git(fork.django, "worktree", "repair", str(fork.base))


def make(fork: Fork, upstream: str | None = None) -> bool:
    """Make the checkout, unless it is there already.

    Args:
        upstream: PATH[@REV] of a clone of Django to use instead of the sdist.

    Returns:
        Whether anything was made.

    Raises:
        KitError: the base can't be had, a patch doesn't apply, or there is work
            in the checkout that would be lost. The checkout is then as before.
    """
    fork.fork.mkdir(exist_ok=True)
    with fork.locked():
        release = pin.load(fork.pin)
        source = Upstream.parse(upstream) if upstream else None
        wanted = (source_digest(fork, source), series_digest(fork))
        state = fork.read_state()
        made = state is None or (state.source, state.series) != wanted
        if state and fork.base.exists():
            _repair(fork)
        if made:
            _refuse_to_lose_work(fork, state, "Making the checkout")
            with _aside(fork) as directory:
                tree = directory / "django"
                what = _materialise(fork, tree, release, source)
                git(tree, "branch", "--quiet", BASE_BRANCH)
                git(tree, "checkout", "--quiet", "-b", BRANCH)
                apply(tree, fork.patches(), what)
                first = git(tree, "rev-parse", BASE_BRANCH)
                tip = git(tree, "rev-parse", BRANCH)
                fork.write_state(State(*wanted, first, tip), tree)
                # From here on only renames: first the old out, then the new in.
                for old in (fork.base, fork.django):
                    if old.exists():
                        old.replace(directory / f"old-{old.name}")
                tree.replace(fork.django)
        _ensure_base(fork)
        for tree in (fork.django, fork.base):
            _link(fork, tree)
        if made:
            say(f"{relative(fork.django, fork.root)} and base/ beside it are ready.")
        return made


def remove(fork: Fork) -> None:
    """Remove the checkout.

    Raises:
        KitError: there is work in it that patches/ lacks.
    """
    fork.fork.mkdir(exist_ok=True)
    with fork.locked():
        state = fork.read_state()
        if state and fork.base.exists():
            _repair(fork)
        _refuse_to_lose_work(fork, state, "Removing the checkout")
        with _aside(fork) as directory:
            for old in (fork.base, fork.django):
                if old.exists():
                    old.replace(directory / old.name)
