"""The checkout: the base with the series on it, in django-fork/.

One way only: base.toml -> verified sdist -> commit "upstream" -> commit with the
skeleton of the release notes -> git am patches/*. The way back is
patchkit.series.export().

Everything is made aside, in a directory of its own, and moved into place when it
is whole. Whatever goes wrong, a kill included, leaves django-fork/django either
as it was or absent, never half made.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from patchkit import KitError, pin, relative, say
from patchkit.fork import BASE_BRANCH, BRANCH, DJANGO, Fork, State
from patchkit.git import ROLE, ROLE_EMAIL, GitError, applying, git

# Part of the key: raise it when the same inputs make another checkout.
FORMAT = 1
# The name of a base that is no commit of a clone's.
SDIST = "sdist"
# How long a git process of a command that was killed may go on, in seconds.
PATIENCE = 30
# What to do if a patch doesn't apply.
ADVICE = "Mend it, or move the series to this base: CONTRIBUTING.md tells how."
# The commits below the series carry a date of their own so that their ids, and
# with them all ids in the checkout, are the same wherever it is made.
DATE = "2026-01-01T00:00:00+0000"
DATES = {"GIT_AUTHOR_DATE": DATE, "GIT_COMMITTER_DATE": DATE}
# What running Django's tests and building its docs leaves behind, for git in
# the checkout to ignore. (The sdist has no .gitignore.)
EXCLUDE = """\
/tests/tests_ticket31997
__pycache__/
*.egg-info/
.coverage*
/docs/_build/
"""


def find_upstream(text: str) -> tuple[Path, str]:
    """Resolve PATH[@REV].

    Args:
        text: the path of a clone of Django, with "@" and a revision unless HEAD is
            meant.

    Returns:
        The clone, and the full id of the commit.

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
        what = f"{name} is not a clone of Django with a commit {rev}"
        raise KitError(f"UPSTREAM: {what}.") from e
    return path, commit


def digest(paths: Iterable[Path], *words: str) -> str:
    """Return a digest of what the checkout, or a part of it, is made from.

    Args:
        paths: the pin, with the base as a word: SDIST or the commit of a clone's; or
            the patches.

    Returns:
        A digest of the files' names, contents and order, in hexadecimal.
    """
    parts = (FORMAT, words, [(path.name, path.read_bytes()) for path in paths])
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def unexported(fork: Fork) -> list[str]:
    """Tell what would be lost if the checkout were made again.

    Returns:
        A line for each kind of work that patches/ doesn't have; empty if none.
    """
    state = fork.read_state()
    if not fork.django.exists():
        return []
    if state is None:
        return [f"{DJANGO} was not made by this command"]
    if fork.base.exists():
        git(fork.django, "worktree", "repair", str(fork.base))
    work = [
        f"uncommitted changes in {relative(tree, fork.root)}"
        for tree in (fork.django, fork.base)
        if tree.exists() and git(tree, "status", "--porcelain")
    ]
    # Every ref, the stash and each worktree's HEAD, as in the middle of a rebase.
    commits = git(fork.django, "rev-list", "--all", "--not", state.tip, state.base)
    if count := len(commits.splitlines()):
        work.append(f"{count} commit(s) or stashes that patches/ lacks")
    own = {fork.django.resolve(), fork.base.resolve()}
    for line in git(fork.django, "worktree", "list", "--porcelain").splitlines():
        tree = Path(line.removeprefix("worktree "))
        if line.startswith("worktree ") and tree.resolve() not in own:
            work.append(f"a worktree of it at {relative(tree, fork.root)}")
    return work


def refuse_to_lose_work(fork: Fork, doing: str) -> None:
    """Make sure that patches/ has all that was done in the checkout.

    Args:
        doing: what would overwrite it.

    Raises:
        KitError: there is work that it lacks.
    """
    if work := unexported(fork):
        raise KitError(
            f"{doing} would overwrite work in django-fork:\n"
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
def _aside(fork: Fork) -> Iterator[Fork]:
    """Provide a place to make the checkout in; what is moved there is removed."""
    # What a kill left behind goes first: the lock is ours, so nobody uses it.
    for stale in fork.fork.glob(".build-*"):
        _remove(stale)
    place = Fork(Path(tempfile.mkdtemp(dir=fork.fork, prefix=".build-")))
    place.fork.mkdir()
    try:
        yield place
    finally:
        _remove(place.root)


def _move_away(fork: Fork, directory: Path) -> None:
    """Move both trees, as far as they are there, into a directory."""
    for tree in (fork.base, fork.django):
        if tree.exists():
            tree.replace(directory / tree.name)


def _materialise(
    fork: Fork, tree: Path, release: pin.Pin, clone: Path | None, commit: str
) -> None:
    """Make a repository of the base, with the series on it, in an empty place."""
    if clone:
        what = f"{clone.name} at {commit[:12]}"
        say(f"Copying {what}.")
        git(tree.parent, "init", "--quiet", tree.name)
        # One commit without its history: nothing is written to the clone, and
        # nothing in the checkout depends on it afterwards.
        git(tree, "fetch", "--depth=1", "--no-tags", clone.as_uri(), commit)
        git(tree, "reset", "--quiet", "--hard", commit)
    else:
        what = f"Django {release.version}"
        archive = pin.download(release, fork.fork / ".cache")
        say(f"Unpacking {relative(archive, fork.root)}.")
        pin.unpack(archive, tree)
        git(tree, "init", "--quiet")
        git(tree, "add", "--all", "--force")
        message = f"upstream\n\n{what}, the sdist on PyPI."
        git(tree, "commit", "--quiet", "--message", message, env=DATES)
    git(tree, "config", "user.name", ROLE)
    git(tree, "config", "user.email", ROLE_EMAIL)
    exclude = tree / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text(EXCLUDE, encoding="utf-8")
    notes = f"docs/releases/{release.next_version}.txt"
    if not (tree / notes).exists():
        (tree / notes).write_text(pin.release_notes(release), encoding="utf-8")
        git(tree, "add", "--force", notes)
        message = f"Added the skeleton of the {release.next_version} release notes."
        git(tree, "commit", "--quiet", "--message", message, env=DATES)
    git(tree, "branch", "--quiet", BASE_BRANCH)
    git(tree, "checkout", "--quiet", "-b", BRANCH)
    patches = fork.patches()
    for number, patch in enumerate(patches, 1):
        say(f"Applying {number}/{len(patches)} {patch.name}")
        with applying(f"patches/{patch.name}", tree, what, ADVICE):
            # Exactly: no fuzz, no three-way merge.
            git(tree, "am", "--quiet", "--committer-date-is-author-date", str(patch))


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
    with fork.locked():
        release = pin.load(fork.pin)
        clone, commit = find_upstream(upstream) if upstream else (None, SDIST)
        wanted = (digest([fork.pin], commit), digest(fork.patches()))
        state = fork.read_state()
        made = state is None or (state.source, state.series) != wanted
        if made:
            refuse_to_lose_work(fork, "Making the checkout")
            with _aside(fork) as new:
                _materialise(fork, new.django, release, clone, commit)
                ids = git(new.django, "rev-parse", BASE_BRANCH, BRANCH).split()
                new.write_state(State(*wanted, *ids))
                # From here on only renames: first the old out, then the new in.
                _move_away(fork, new.root)
                new.django.replace(fork.django)
        if not fork.base.exists():
            with _aside(fork) as new:
                git(fork.django, "worktree", "prune")
                git(fork.django, "worktree", "add", "-q", str(new.base), BASE_BRANCH)
                new.base.replace(fork.base)
        # git keeps absolute paths in both directions; the repository may have moved.
        git(fork.django, "worktree", "repair", str(fork.base))
        for tree in (fork.django, fork.base):
            link = tree / "tests" / fork.package.name
            if not link.is_symlink():
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(fork.package.relative_to(link.parent, walk_up=True))
        if made:
            say(f"{DJANGO} and base/ beside it are ready.")
        return made


def remove(fork: Fork) -> None:
    """Remove the checkout.

    Raises:
        KitError: there is work in it that patches/ lacks.
    """
    with fork.locked():
        refuse_to_lose_work(fork, "Removing the checkout")
        with _aside(fork) as place:
            _move_away(fork, place.root)
