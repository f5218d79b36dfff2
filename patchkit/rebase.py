"""The series on a newer base: a three-way merge, in a place of its own."""

import re
import shutil
from pathlib import Path

from patchkit import KitError, base, checkout, relative, say, series
from patchkit.checkout import BASE_BRANCH, BRANCH, Fork, State
from patchkit.git import GitError, git

# Where the merge is made, and kept for as long as it has conflicts.
PLACE = ".rebase"


def _pin(text: str, version: str, sha256: str) -> str:
    """Return base.toml with another version and hash."""
    for key, value in (("version", version), ("sha256", sha256)):
        # Of [base], the first table.
        text, count = re.subn(
            rf'^{key} = ".*"$', f'{key} = "{value}"', text, count=1, flags=re.MULTILINE
        )
        if not count:
            raise KitError(f"django-fork/base.toml has no {key}.")
    return text


def abort(fork: Fork) -> bool:
    """Drop a merge that has conflicts.

    Args:
        fork: the repository.

    Returns:
        Whether there was one.
    """
    place = fork.fork / PLACE
    found = place.exists()
    shutil.rmtree(place, ignore_errors=True)
    return found


def rebase(fork: Fork, version: str, sha256: str) -> bool:
    """Move the pin to another release, and the series onto it.

    Where a patch conflicts, the merge stays in django-fork/.rebase to be
    resolved there, and calling this again goes on. Until all is merged, the pin,
    patches/ and the checkout are as they were.

    Args:
        fork: the repository, with a checkout without work that patches/ lacks.
        version: the release, such as "6.1.4".
        sha256: of its sdist on PyPI, in hexadecimal.

    Returns:
        Whether anything was done.

    Raises:
        KitError: there is work that would be lost, the release can't be had, or
            a patch conflicts.
    """
    place = fork.fork / PLACE
    text = fork.pin.read_text(encoding="utf-8")
    new = _pin(text, version, sha256)
    if new == text and not place.exists():
        return False
    state = fork.read_state()
    work = checkout.unexported(fork, state)
    if state is None or work:
        raise KitError(
            "`make checkout` first, and export what patches/ lacks:\n"
            + "".join(f"  - {line}\n" for line in work)
        )
    target = Fork(place)
    if not place.exists():
        try:
            _begin(fork, target, new)
        except BaseException:
            abort(fork)
            raise
    elif target.pin.read_text(encoding="utf-8") != new:
        raise KitError(
            f"{relative(place, fork.root)} is a merge onto another release. Finish "
            "it, or drop it: `make rebase ABORT=1`."
        )
    _merge(fork, target)
    with fork.lock:
        # What is exported there replaces what is here, all at once at the end.
        series.export(target)
        for patch in fork.patches():
            patch.unlink()
        for patch in target.patches():
            shutil.copy(patch, fork.patches_dir)
        fork.pin.write_text(new, encoding="utf-8")
    abort(fork)
    say(f"The series is on Django {version}. `make test`, then commit.")
    checkout.make(fork)
    return True


def _begin(fork: Fork, target: Fork, pin: str) -> None:
    """Make a checkout of the new base that knows the blobs of the old one."""
    target.fork.mkdir(parents=True)
    target.patches_dir.mkdir()
    target.pin.write_text(pin, encoding="utf-8")
    cache = fork.fork / ".cache"
    cache.mkdir(exist_ok=True)
    (target.fork / ".cache").symlink_to(cache)
    (target.root / "tests_ticket31997").symlink_to(fork.root / "tests_ticket31997")
    base.load(target.pin)
    checkout.make(target)
    git(
        target.django, "fetch", "--quiet", str(fork.django), f"{BRANCH}:refs/old/series"
    )


def _merge(fork: Fork, target: Fork) -> None:
    """Apply what isn't applied yet, with git am -3."""
    tree = target.django
    if (tree / ".git" / "rebase-apply").exists():
        raise KitError(_how(fork, target, "A patch is still being applied"))
    patches = fork.patches()
    for patch in patches[_applied(tree) :]:
        say(f"Merging {patch.name}")
        try:
            git(
                tree,
                "am",
                "-3",
                "--quiet",
                "--committer-date-is-author-date",
                str(patch),
            )
        except GitError as e:
            raise KitError(_how(fork, target, f"{patch.name} conflicts")) from e
    # The old base's objects are of no more use, and its ref would be work.
    git(tree, "update-ref", "-d", "refs/old/series")
    state = target.read_state()
    assert state
    first = git(tree, "rev-parse", BASE_BRANCH)
    target.write_state(State(state.source, state.series, first, first))


def _applied(tree: Path) -> int:
    return len(git(tree, "rev-list", f"{BASE_BRANCH}..{BRANCH}").splitlines())


def _how(fork: Fork, target: Fork, what: str) -> str:
    name = relative(target.django, fork.root)
    return (
        f"{what}. In {name}: mend the files that `git status` names, `git add` them, "
        "and `git am --continue`; then run this command again. To drop it all: "
        "`make rebase ABORT=1`. The pin and patches/ are as they were."
    )
