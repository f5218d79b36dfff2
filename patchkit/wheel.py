"""A wheel of Django with the series in it, to try in a project of one's own."""

import re
import tempfile
from datetime import datetime
from pathlib import Path

from patchkit import KitError, checkout, pin, relative, say
from patchkit.fork import Fork
from patchkit.git import applying, git

# The local version: 6.1.3+ticket31997 is a 6.1.3 to whatever requires Django.
LOCAL = "ticket31997"


def build(fork: Fork, version: str = "") -> Path:
    """Build a wheel with the changes that the series makes in django/.

    Building it again makes the same bytes.

    Args:
        fork: the repository, with a checkout of the pinned release.
        version: one of the releases in base.toml; the pin by default.

    Returns:
        The wheel, in dist/.

    Raises:
        KitError: the release isn't in base.toml or can't be had, a patch doesn't
            apply to it, or the wheel can't be built.
    """
    pinned = pin.load(fork.pin)
    releases = {r.version: r for r in (pinned, *pinned.wheels)}
    if not (release := releases.get(version or pinned.version)):
        raise KitError(
            f"{relative(fork.pin, fork.root)} has no sdist of Django {version}, but "
            f"those of {', '.join(releases)}: choose one, or add it there."
        )
    wheel = fork.root / "dist" / f"django-{release.version}+{LOCAL}-py3-none-any.whl"
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        tree = Path(name) / "django"
        pin.unpack(pin.download(release, fork.fork / ".cache"), tree, "docs", "tests")
        git(tree, "init", "--quiet")
        git(tree, "add", "--all", "--force")
        _apply(fork, tree, release)
        _rename(tree)
        say(f"Building the wheel of Django {release.version} with the series.")
        wheel.parent.mkdir(exist_ok=True)
        # One that is there already is replaced by a whole one.
        with tempfile.TemporaryDirectory(dir=wheel.parent, prefix=".build-") as built:
            _build(tree, built)
            (Path(built) / wheel.name).replace(wheel)
    return wheel


def _apply(fork: Fork, tree: Path, release: pin.Sdist) -> None:
    """Apply the patches to django/ with three-way merges, or a diff to its files."""
    # Where the files have changed, git merges what the checkout knows of them.
    blobs = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": str(fork.django / ".git/objects")}
    series = ["--include=django/*"]
    patches: list[tuple[Path, list[str]]] = [(p, series) for p in fork.patches()]
    if release.diff:
        diff = fork.fork / release.diff
        numbers = git(tree, "apply", "--numstat", str(diff)).splitlines()
        series[:0] = [f"--exclude={line.split('\t')[2]}" for line in numbers]
        patches.append((diff, []))
    advice = f"{relative(fork.pin, fork.root)} can name a diff to use for such a file."
    for patch, options in patches:
        name = relative(patch, fork.root)
        with applying(name, tree, f"Django {release.version}", advice):
            git(tree, "apply", "--3way", *options, str(patch), env=blobs)


def _rename(tree: Path) -> None:
    """Give the release its local version, and say which Python it needs."""
    for name, pattern, new in (
        ("django/__init__.py", r"^(__version__ = .+)$", rf'\1 + "+{LOCAL}"'),
        # What the series needs of asyncio's tasks is in Python since this version.
        ("pyproject.toml", r"^requires-python = .+$", 'requires-python = ">= 3.12"'),
    ):
        text = (tree / name).read_text(encoding="utf-8")
        text, count = re.subn(pattern, new, text, count=1, flags=re.MULTILINE)
        if not count:
            raise KitError(f"{name} isn't as this command knows it: no {pattern}.")
        (tree / name).write_text(text, encoding="utf-8")


def _build(tree: Path, directory: str) -> None:
    """Build a tree's wheel, alike wherever and whenever that is done."""
    for path in (tree / "django").rglob("*"):
        # What git has written depends on the user's umask.
        path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    epoch = int(datetime.fromisoformat(checkout.DATE).timestamp())
    words = ("wheel", "--no-index", f"--wheel-dir={directory}", str(tree))
    pin.pip("The wheel can't be built", *words, SOURCE_DATE_EPOCH=str(epoch))
