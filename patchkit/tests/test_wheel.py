"""The wheels: what is in them, the same bytes each time, and what doesn't apply."""

import os
import zipfile
from pathlib import Path

import pytest

from patchkit import KitError, checkout, pin, wheel
from patchkit.fork import Fork
from patchkit.series import export
from patchkit.tests.conftest import BASE_TOML, FILES, commit, sdist, snapshot

INIT = (
    'VERSION = (6, 1, 3, "final", 0)\n\n__version__ = ".".join(map(str, VERSION[:3]))\n'
)
DJANGO = {
    **FILES,
    "django/__init__.py": INIT,
    "pyproject.toml": FILES["pyproject.toml"]
    .replace('version = "6.1.3"', 'dynamic = ["version"]\nrequires-python = ">= 3.10"')
    .replace(
        "[tool",
        '[tool.setuptools.dynamic]\nversion = {attr = "django.__version__"}\n\n[tool',
    ),
}
# An older release: a line more above one hunk, and the other hunk's line missing.
OLD = {**DJANGO, "django/__init__.py": INIT.replace("6, 1, 3", "5, 2, 19")}
MOVED = "# Old.\n" + FILES["django/module.py"]
DIFF = """\
--- a/django/module.py
+++ b/django/module.py
@@ -1,3 +1,4 @@
 # Old.
+line zero
 line 0
 line 1
"""


def release(fork: Fork, module: str, diff: str = "") -> None:
    """Add a release with another module to base.toml."""
    archive = fork.fork / ".cache" / "django-5.2.19.tar.gz"
    sha256 = sdist(archive, {**OLD, "django/module.py": module}, "5.2.19")
    entry = f'\n[[wheel]]\nversion = "5.2.19"\nsha256 = "{sha256}"\ndiff = "{diff}"\n'
    fork.pin.write_text(fork.pin.read_text() + entry)
    checkout.make(fork)


@pytest.fixture
def fork(fork: Fork) -> Fork:
    """A repository with a series that changes code, tests and docs."""
    sha256 = sdist(fork.fork / ".cache" / "django-6.1.3.tar.gz", DJANGO)
    fork.pin.write_text(BASE_TOML.format(sha256=sha256))
    checkout.make(fork)
    lines = FILES["django/module.py"].replace("line 5\n", "line five\n")
    lines = lines.replace("line 35\n", "line thirty-five\n")
    files = {"django/module.py": lines, "tests/polls/tests.py": "assert True\n"}
    commit(fork.django, "Changed lines.", files)
    export(fork)
    return fork


def content(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_content(fork: Fork) -> None:
    path = wheel.build(fork)
    assert path == fork.root / "dist" / "django-6.1.3+ticket31997-py3-none-any.whl"
    files = content(path)
    assert sorted(name for name in files if "dist-info" not in name) == [
        "django/__init__.py",
        "django/module.py",
    ]
    assert "line five\n" in files["django/module.py"]
    namespace: dict[str, object] = {}
    exec(files["django/__init__.py"], namespace)
    assert namespace["VERSION"] == (6, 1, 3, "final", 0)
    assert namespace["__version__"] == "6.1.3+ticket31997"
    metadata = files["django-6.1.3+ticket31997.dist-info/METADATA"].splitlines()
    assert {"Version: 6.1.3+ticket31997", "Requires-Python: >=3.12"} <= set(metadata)


def test_the_same_bytes_twice(fork: Fork) -> None:
    pin = fork.pin.read_bytes()
    state = fork.read_state()
    first = wheel.build(fork).read_bytes()
    umask = os.umask(0o077)
    try:
        assert wheel.build(fork).read_bytes() == first
    finally:
        os.umask(umask)
    assert fork.pin.read_bytes() == pin
    assert fork.read_state() == state
    assert checkout.unexported(fork) == []


def test_what_breaks_off_leaves_the_one_before(
    fork: Fork, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = wheel.build(fork)
    content = before.read_bytes()
    before.parent.chmod(0o700)

    def pip(*words: str, **_: str) -> None:
        (option,) = (word for word in words if word.startswith("--wheel-dir="))
        (Path(option.partition("=")[2]) / before.name).write_bytes(b"")
        raise KeyboardInterrupt

    monkeypatch.setattr("patchkit.pin.pip", pip)
    with pytest.raises(KeyboardInterrupt):
        wheel.build(fork)
    assert before.read_bytes() == content
    assert list(before.parent.iterdir()) == [before]
    assert before.parent.stat().st_mode & 0o777 == 0o700


def test_what_has_moved_is_merged(fork: Fork) -> None:
    """A plain git apply refuses it: the lines around the hunk differ."""
    release(fork, FILES["django/module.py"].replace("line 2\n", "line two\n"))
    path = wheel.build(fork, "5.2.19")
    assert path.name == "django-5.2.19+ticket31997-py3-none-any.whl"
    module = content(path)["django/module.py"]
    assert "line two\n" in module and "line five\n" in module


def test_what_does_not_apply(fork: Fork) -> None:
    release(fork, FILES["django/module.py"].replace("line 35\n", "line XXXV\n"))
    before = snapshot(fork.root / "patches")
    with pytest.raises(
        KitError,
        match=r"(?s)^\S*patches/0001-Changed-lines\.patch does not apply to Django "
        r"5\.2\.19 .*:\n  django/module\.py:36\n\S*base\.toml can name a diff",
    ):
        wheel.build(fork, "5.2.19")
    assert not (fork.root / "dist").exists()
    assert snapshot(fork.root / "patches") == before


def test_a_diff_instead(fork: Fork) -> None:
    """It takes the place of all that the series changes in its files."""
    (fork.fork / "old.diff").write_text(DIFF)
    release(fork, MOVED.replace("line 35\n", "line XXXV\n"), "old.diff")
    module = content(wheel.build(fork, "5.2.19"))["django/module.py"]
    assert module.startswith("# Old.\nline zero\nline 0\n")
    assert "line five\n" not in module


def test_unknown_release(fork: Fork) -> None:
    release(fork, FILES["django/module.py"])
    message = r"has no sdist of Django 4\.2, but those of 6\.1\.3, 5\.2\.19: choose one"
    with pytest.raises(KitError, match=message):
        wheel.build(fork, "4.2")


def test_the_releases_of_this_repository() -> None:
    pinned = pin.load(Fork().pin)
    for release in pinned.wheels:
        assert not release.diff or (Fork().fork / release.diff).is_file()
    assert len({pinned.version, *(r.version for r in pinned.wheels)}) == 3


def test_unknown_key(fork: Fork) -> None:
    fork.pin.write_text(fork.pin.read_text() + '\n[[wheel]]\nversions = "5.2"\n')
    with pytest.raises(KitError, match=r"base\.toml: .*unexpected keyword.*versions"):
        pin.load(fork.pin)
