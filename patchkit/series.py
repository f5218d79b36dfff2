"""The series: patches/, the one source of truth for Django's files."""

import re
import tempfile
from pathlib import Path

from unidiff import PatchSet

from patchkit import KitError, say
from patchkit.checkout import SDIST, digest
from patchkit.fork import BRANCH, DJANGO, Fork, State
from patchkit.git import ROLE, ROLE_EMAIL, git

# All that could make two exports of the same commits differ: their ids, git's
# version, the number of objects in the repository (which sets how long an
# abbreviated id is) and the number of patches.
FORMAT_PATCH = (
    *("--quiet", "--zero-commit", "--no-signature", "--full-index", "--no-numbered"),
    *("--no-renames", "--diff-algorithm=histogram", "--filename-max-length=64"),
)


def export(fork: Fork) -> list[str]:
    """Write the commits of the checkout to patches/.

    The inverse of checkout.make(): exporting an untouched checkout changes no
    byte.

    Returns:
        A line for each file written or removed; empty if nothing changed.

    Raises:
        KitError: there is no checkout, patches/ was changed by something else
            since it was made, or the commits don't make a series.
    """
    with fork.locked():
        state = fork.read_state()
        if state is None:
            raise KitError("There is no checkout to export. Run `make checkout`.")
        _refuse_unless_series(fork, state)
        if git(fork.django, "status", "--porcelain"):
            say(f"Uncommitted changes in {DJANGO} are not exported: only commits are.")
        tip = git(fork.django, "rev-parse", BRANCH)
        if tip == state.tip and state.source != digest([fork.pin], SDIST):
            # Untouched, and on a base other than the pinned one, where the same
            # commits make other bytes: ids of files, numbers of lines.
            return []
        with tempfile.TemporaryDirectory(dir=fork.fork, prefix=".build-") as name:
            commits = f"{state.base}..{BRANCH}"
            git(fork.django, "format-patch", *FORMAT_PATCH, f"-o{name}", commits)
            changes = write(fork, Path(name))
        fork.write_state(state._replace(series=digest(fork.patches()), tip=tip))
        return changes


def write(fork: Fork, directory: Path) -> list[str]:
    """Write the patches that are in a directory to patches/, and remove all others.

    Returns:
        A line for each file written or removed; empty if nothing changed.
    """
    new = {path.name: path.read_bytes() for path in directory.glob("*.patch")}
    old = {path.name: path.read_bytes() for path in fork.patches()}
    changes = []
    for name in sorted(new.keys() | old.keys()):
        target = fork.patches_dir / name
        if name not in new:
            target.unlink()
            changes.append(f"removed patches/{name}")
        elif new[name] != old.get(name):
            target.write_bytes(new[name])
            changes.append(f"wrote patches/{name}")
    return changes


def _refuse_unless_series(fork: Fork, state: State) -> None:
    """Refuse what can't be exported without losing something."""
    django, series = fork.django, f"{state.base}..{BRANCH}"
    if digest(fork.patches()) != state.series:
        raise KitError(
            "patches/ has changed since the checkout was made from it. To drop that "
            "change: `git checkout -- patches`. To keep it: move the branch "
            f"{BRANCH} in {DJANGO} aside, `make checkout`, cherry-pick your commits."
        )
    if any((django / ".git" / d).exists() for d in ("rebase-merge", "rebase-apply")):
        raise KitError(f"A rebase or git am is under way in {DJANGO}. Finish it first.")
    if git(django, "rev-parse", "--abbrev-ref", "HEAD") != BRANCH:
        raise KitError(f"{DJANGO} is not on its branch: `git switch {BRANCH}` in it.")
    if git(django, "merge-base", state.base, BRANCH) != state.base:
        raise KitError(f"{BRANCH} in {DJANGO} doesn't begin at the base any more.")
    if merges := git(django, "rev-list", "--merges", series):
        raise KitError(f"A series can't hold merge commits: {merges.splitlines()}.")
    role = f"{ROLE} <{ROLE_EMAIL}>"
    for line in git(django, "log", "--format=%h of %an <%ae>", series).splitlines():
        if not line.endswith(f" of {role}"):
            raise KitError(
                f"The author of {line} is not the role {role}. In {DJANGO}, for the "
                "last commit: `git commit --amend --no-edit --reset-author`."
            )


def modules(patches: list[Path]) -> list[str]:
    """Tell which of Django's test modules a series touches.

    Args:
        patches: the patch files.

    Returns:
        Their names, which are labels for runtests.py too, sorted.
    """
    read = [PatchSet.from_filename(str(p), encoding="utf-8") for p in patches]
    paths = "\n".join(file.path for files in read for file in files)
    tests = re.findall(r"^tests/(\w+/.*)\.py$", paths, re.MULTILINE)
    return sorted({path.replace("/", ".") for path in tests})


def labels(patches: list[Path]) -> list[str]:
    """Tell which of Django's test packages a series touches.

    Args:
        patches: the patch files.

    Returns:
        The labels for runtests.py, sorted.
    """
    return sorted({name.split(".")[0] for name in modules(patches)})
