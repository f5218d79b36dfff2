"""The repository: where its parts are, and what its checkout was made from."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from patchkit import ROOT, pin, relative, say

# In django-fork/django: with the series, and without it.
BRANCH = "ticket_31997"
BASE_BRANCH = "base"
# The patched tree, as the user reads it.
DJANGO = "django-fork/django"


class State(NamedTuple):
    """What the checkout was made from, kept in its git directory.

    Attributes:
        source: a digest of what is below the series.
        series: a digest of patches/, when it was made or last exported.
        base: the commit that the series begins at.
        tip: the commit that the series ended at, likewise.
    """

    source: str
    series: str
    base: str
    tip: str


class Fork:
    """The directories of one repository of the project.

    Attributes:
        root: the repository.
        patches_dir: the series, as git format-patch writes it.
        fork: the directory that holds the pin and what is made from it.
        django: the patched tree, on the series' branch.
        base: a worktree of the same repository, without the series.
        pin: base.toml.
        package: our own tests, which are linked into both trees.
        state_file: where the State is kept.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.patches_dir = root / "patches"
        self.fork = root / "django-fork"
        self.django = self.fork / "django"
        self.base = self.fork / "base"
        self.pin = self.fork / "base.toml"
        self.package = root / "tests_ticket31997"
        self.state_file = self.django / ".git" / "patchkit.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let nobody else make, export or remove the checkout inside the block."""
        self.fork.mkdir(exist_ok=True)
        lock, holder = FileLock(self.fork / ".lock"), self.fork / ".lock-holder"
        try:
            lock.acquire(timeout=0)
        except Timeout:
            who = "another command"
            with suppress(OSError):
                who = holder.read_text(encoding="utf-8") or who
            say(f"Waiting for {who}, which is at work in {relative(self.fork)}.")
            lock.acquire()
        try:
            me = f"process {os.getpid()} (patchkit {' '.join(sys.argv[1:])})"
            holder.write_text(me, encoding="utf-8")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def patches(self) -> list[Path]:
        """Return the patches in the order they apply in."""
        return sorted(self.patches_dir.glob("*.patch"))

    def copy(self, root: Path, patches: Iterable[Path]) -> "Fork":
        """Make a repository with the same pin, download and tests, and other patches.

        Args:
            root: an empty directory, or one to make.
            patches: the patches to copy.

        Returns:
            The repository, without a checkout.
        """
        copy = Fork(root)
        copy.fork.mkdir(parents=True)
        copy.patches_dir.mkdir()
        pin.download(pin.load(self.pin), self.fork / ".cache")
        (copy.fork / ".cache").symlink_to(self.fork / ".cache")
        copy.package.symlink_to(self.package)
        shutil.copy(self.pin, copy.fork)
        for patch in patches:
            shutil.copy(patch, copy.patches_dir)
        return copy

    def tree(self, name: str) -> Path:
        """Return a tree by its name.

        Args:
            name: "base" or "django".

        Returns:
            The directory.
        """
        return {"base": self.base, "django": self.django}[name]

    def read_state(self) -> State | None:
        """Return what the checkout was made from, or None if there is none."""
        try:
            return State(**json.loads(self.state_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write_state(self, state: State) -> None:
        """Record what the checkout is made from."""
        partial = self.state_file.with_suffix(".partial")
        partial.write_text(json.dumps(state._asdict()) + "\n", encoding="utf-8")
        partial.replace(self.state_file)
