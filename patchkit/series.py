"""The series: patches/, the one source of truth for Django's files."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

from unidiff import PatchSet

from patchkit import KitError, checkout, relative, say
from patchkit.fork import BRANCH, Fork, State
from patchkit.git import ROLE, ROLE_EMAIL, git

# All that could make two exports of the same commits differ: their ids, git's
# version, the number of objects in the repository (which sets how long an
# abbreviated id is) and the number of patches.
FORMAT_PATCH = (
    *("--zero-commit", "--no-signature", "--full-index", "--no-numbered"),
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
        django = fork.django
        _refuse_unless_series(fork, state)
        if git(django, "status", "--porcelain"):
            say(
                f"Uncommitted changes in {relative(django, fork.root)} are not "
                f"exported: only commits are."
            )
        changes: list[str] = []
        tip = git(django, "rev-parse", BRANCH)
        if tip == state.tip and state.source != checkout.source_digest(fork):
            # Untouched, and on a base other than the pinned one, where the same
            # commits make other bytes: ids of files, numbers of lines.
            return changes
        with tempfile.TemporaryDirectory(dir=fork.fork, prefix=".build-") as name:
            git(
                *(django, "format-patch", "--quiet", *FORMAT_PATCH),
                *("--output-directory", name, f"{state.base}..{BRANCH}"),
            )
            new = {path.name: path for path in Path(name).glob("*.patch")}
            fork.patches_dir.mkdir(exist_ok=True)
            for file_name, path in sorted(new.items()):
                target = fork.patches_dir / file_name
                if target.exists() and target.read_bytes() == path.read_bytes():
                    continue
                path.replace(target)
                changes.append(f"wrote {relative(target, fork.root)}")
        for path in fork.patches():
            if path.name not in new:
                path.unlink()
                changes.append(f"removed {relative(path, fork.root)}")
        fork.write_state(replace(state, series=checkout.series_digest(fork), tip=tip))
        return changes


def _refuse_unless_series(fork: Fork, state: State) -> None:
    """Refuse what can't be exported without losing something."""
    django = fork.django
    name = relative(django, fork.root)
    if checkout.series_digest(fork) != state.series:
        raise KitError(
            "patches/ has changed since the checkout was made from it, and exporting "
            "would undo that change. To drop it: `git checkout -- patches`. To keep "
            f"it: move the branch {BRANCH} in {name} aside, `make checkout`, and "
            "cherry-pick your commits."
        )
    if any((django / ".git" / d).exists() for d in ("rebase-merge", "rebase-apply")):
        raise KitError(f"A rebase or git am is under way in {name}. Finish it first.")
    if git(django, "rev-parse", "--abbrev-ref", "HEAD") != BRANCH:
        raise KitError(f"{name} is not on its branch: `git switch {BRANCH}` in it.")
    series = f"{state.base}..{BRANCH}"
    if git(django, "merge-base", state.base, BRANCH) != state.base:
        raise KitError(f"{BRANCH} in {name} doesn't begin at the base any more.")
    if merges := git(django, "rev-list", "--merges", series):
        raise KitError(f"A series can't hold merge commits: {merges.splitlines()}.")
    role = f"{ROLE} <{ROLE_EMAIL}>"
    for line in git(django, "log", "--format=%h %an <%ae>", series).splitlines():
        commit, author = line.split(" ", 1)
        if author != role:
            raise KitError(
                f"The author of commit {commit} is not the role {role}. In {name}, for "
                f"the last commit: `git commit --amend --no-edit --reset-author`."
            )


def modules(patches: list[Path]) -> list[str]:
    """Tell which of Django's test modules a series touches.

    Args:
        patches: the patch files.

    Returns:
        Their names, which are labels for runtests.py too, sorted.
    """
    found = set()
    for patch in patches:
        for file in PatchSet.from_filename(str(patch), encoding="utf-8"):
            if match := re.match(r"tests/(\w+/.*)\.py$", file.path):
                found.add(match[1].replace("/", "."))
    return sorted(found)


def labels(patches: list[Path]) -> list[str]:
    """Tell which of Django's test packages a series touches.

    Args:
        patches: the patch files.

    Returns:
        The labels for runtests.py, sorted.
    """
    return sorted({name.split(".")[0] for name in modules(patches)})
