"""The series on a newer base: git rebase, in a place of its own."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from patchkit import KitError, checkout, pin, relative, say, series
from patchkit.fork import BASE_BRANCH, BRANCH, Fork
from patchkit.git import GitError, git

# Where the series is moved, and kept for as long as it has conflicts.
PLACE = ".rebase"
OLD_BASE = "refs/old/base"


def abort(fork: Fork) -> bool:
    """Drop a move that has conflicts.

    Returns:
        Whether there was one.
    """
    place = fork.fork / PLACE
    found = place.exists()
    shutil.rmtree(place, ignore_errors=True)
    return found


def rebase(
    fork: Fork, version: str = "", sha256: str = "", upstream: str | None = None
) -> bool:
    """Move the pin to another release, or the series onto a clone's commit.

    Where a patch conflicts, the rebase stays in django-fork/.rebase to be
    resolved there, and calling this again goes on. Until all is moved, the pin,
    patches/ and the checkout are as they were.

    A clone's commit can't be the pin, which anybody has to be able to download.
    The series is moved onto it, and has to apply to the pinned release still.

    Args:
        fork: the repository, with a checkout without work that patches/ lacks.
        version: the release, such as "6.1.4".
        sha256: of its sdist on PyPI, in hexadecimal.
        upstream: PATH[@REV] of a clone of Django, instead of a release.

    Returns:
        Whether the pin or patches/ changed.

    Raises:
        KitError: there is work that would be lost, the release can't be had, a
            patch conflicts, or doesn't apply to both bases.
    """
    target = Fork(fork.fork / PLACE)
    onto = target.root / "onto"
    text = new = fork.pin.read_text(encoding="utf-8")
    if not upstream:
        old = pin.load(fork.pin)
        new = text.replace(f'"{old.version}"', f'"{version}"', 1)
        new = new.replace(old.sha256, sha256)
    wanted = f"{upstream or ''}\n{new}"
    if new == text and not upstream and not target.root.exists():
        return False
    checkout.make(fork)
    checkout.refuse_to_lose_work(fork, "Moving the series")
    if not target.root.exists():
        try:
            _begin(fork, target, new, upstream)
            onto.write_text(wanted, encoding="utf-8")
        except BaseException:
            abort(fork)
            raise
        # Conflicts are told below, and the export sees anything else.
        with suppress(GitError):
            git(target.django, "rebase", "--quiet", "--onto", BASE_BRANCH, OLD_BASE)
    elif onto.read_text(encoding="utf-8") != wanted:
        raise KitError(
            f"{relative(target.root, fork.root)} is a move onto something else. Finish "
            "it, or drop it: `make rebase ABORT=1`."
        )
    if (target.django / ".git" / "rebase-merge").exists():
        raise KitError(
            f"A patch conflicts. In {relative(target.django, fork.root)}: mend the "
            "files that `git status` names, `git add` them, and `git rebase "
            "--continue`; then run this command again. To drop it all: `make rebase "
            "ABORT=1`. The pin and patches/ are as they were."
        )
    series.export(target)
    with tempfile.TemporaryDirectory(dir=fork.fork, prefix=".build-") as name:
        result = _on_the_pin(fork, target, Path(name) / "pin") if upstream else target
        # All at once at the end, what is here is replaced.
        with fork.locked():
            changed = bool(series.write(fork, result.patches_dir)) or new != text
            fork.pin.write_text(new, encoding="utf-8")
    abort(fork)
    if changed:
        say("The series has been moved. `make test`, then commit.")
        checkout.make(fork)
    return changed


def _begin(fork: Fork, target: Fork, text: str, upstream: str | None) -> None:
    """Make a checkout of the new base, with the old series on its branch."""
    fork.copy(target.root, ())
    target.pin.write_text(text, encoding="utf-8")
    checkout.make(target, upstream)
    git(target.django, "fetch", str(fork.django), BRANCH, f"{BASE_BRANCH}:{OLD_BASE}")
    git(target.django, "reset", "--quiet", "--hard", "FETCH_HEAD")


def _on_the_pin(fork: Fork, target: Fork, root: Path) -> Fork:
    """Bring patches of another base into the form they have on the pinned one."""
    result = fork.copy(root, target.patches())
    checkout.make(result)
    state = result.read_state()
    assert state
    result.write_state(state._replace(tip=state.base))
    series.export(result)
    return result
