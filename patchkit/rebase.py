"""The series on a newer base: a three-way merge, in a place of its own."""

import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from patchkit import KitError, checkout, pin, relative, say, series
from patchkit.fork import BASE_BRANCH, BRANCH, Fork, State
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

    Where a patch conflicts, the merge stays in django-fork/.rebase to be
    resolved there, and calling this again goes on. Until all is merged, the pin,
    patches/ and the checkout are as they were.

    A clone's commit can't be the pin, which anybody has to be able to download.
    The series is merged onto it, and has to apply to the pinned release still.

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
    place = fork.fork / PLACE
    text = fork.pin.read_text(encoding="utf-8")
    new = text if upstream else _pin(text, version, sha256)
    if new == text and not upstream and not place.exists():
        return False
    state = fork.read_state()
    work = checkout.unexported(fork, state)
    if state is None or work:
        raise KitError(
            "`make checkout` first, and export what patches/ lacks:\n"
            + "".join(f"  - {line}\n" for line in work)
        )
    target = Fork(place)
    onto = target.fork / "onto"
    wanted = f"{upstream or ''}\n{new}"
    if not place.exists():
        try:
            _begin(fork, target, new, upstream)
            onto.write_text(wanted, encoding="utf-8")
        except BaseException:
            abort(fork)
            raise
    elif onto.read_text(encoding="utf-8") != wanted:
        raise KitError(
            f"{relative(place, fork.root)} is a merge onto something else. Finish "
            "it, or drop it: `make rebase ABORT=1`."
        )
    _merge(fork, target)
    series.export(target)
    with tempfile.TemporaryDirectory(dir=fork.fork, prefix=".build-") as name:
        result = target
        if upstream:
            result = fork.copy(Path(name) / "pinned", target.patches())
            (result.root / "tests_ticket31997").mkdir()
            checkout.make(result)
            _export_again(result)
        patches = {path.name: path.read_bytes() for path in result.patches()}
    before = {path.name: path.read_bytes() for path in fork.patches()}
    with fork.locked():
        # All at once at the end, what is here is replaced.
        for patch in fork.patches():
            patch.unlink()
        for file, content in patches.items():
            (fork.patches_dir / file).write_bytes(content)
        fork.pin.write_text(new, encoding="utf-8")
    abort(fork)
    if patches == before and new == text:
        return False
    say("The series has been moved. `make test`, then commit.")
    checkout.make(fork)
    return True


def _export_again(fork: Fork) -> None:
    """Bring patches of another base into the form they have on this one."""
    state = fork.read_state()
    assert state
    fork.write_state(replace(state, tip=state.base))
    series.export(fork)


def _begin(fork: Fork, target: Fork, text: str, upstream: str | None) -> None:
    """Make a checkout of the new base that knows the blobs of the old one."""
    target.fork.mkdir(parents=True)
    target.patches_dir.mkdir()
    target.pin.write_text(text, encoding="utf-8")
    cache = fork.fork / ".cache"
    cache.mkdir(exist_ok=True)
    (target.fork / ".cache").symlink_to(cache)
    (target.root / "tests_ticket31997").symlink_to(fork.root / "tests_ticket31997")
    pin.load(target.pin)
    checkout.make(target, upstream)
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
