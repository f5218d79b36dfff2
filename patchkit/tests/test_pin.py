"""The base: its pin, its sdist, the skeleton of the release notes."""

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from patchkit import ROOT, KitError, pin
from patchkit.fork import Fork
from patchkit.tests.conftest import BASE_TOML, FILES, sdist


def test_the_repositorys_own_pin_is_complete() -> None:
    release = pin.load(ROOT / "django-fork" / "base.toml")
    assert len(bytes.fromhex(release.sha256)) == 32
    assert "Database backends" in release.headings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[base", r"base\.toml: Expected ']'"),
        ("[base]\nversion = '6.1.3'", "lacks the key 'next'"),
        (
            "[base]\n[next]\nversion = '6.2'\n"
            "minor_features = []\nbackwards_incompatible = []\ndeprecated = []",
            r"base\.toml: .* 'version' and 'sha256'",
        ),
    ],
)
def test_a_wrong_pin_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "base.toml"
    path.write_text(text)
    with pytest.raises(KitError, match=message):
        pin.load(path)


def test_a_missing_pin_is_named(tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r"base\.toml: .* No such file or directory"):
        pin.load(tmp_path / "base.toml")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that pip looks for sdists in, and nowhere else."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    # Not the machine's configuration either.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return index


def pin_of(fork: Fork, sha256: str) -> pin.Pin:
    fork.pin.write_text(BASE_TOML.format(sha256=sha256))
    return pin.load(fork.pin)


def test_pip_downloads_what_is_pinned(fork: Fork, index: Path) -> None:
    archive = fork.fork / ".cache" / "django-6.1.3.tar.gz"
    release = pin.load(fork.pin)
    expected = archive.read_bytes()
    shutil.move(archive, index)
    assert pin.download(release, archive.parent) == archive
    assert archive.read_bytes() == expected
    # From the cache: pip couldn't find it again.
    (index / archive.name).unlink()
    assert pin.download(release, archive.parent) == archive


def test_a_damaged_cache_is_downloaded_again(fork: Fork, index: Path) -> None:
    archive = fork.fork / ".cache" / "django-6.1.3.tar.gz"
    release = pin.load(fork.pin)
    expected = archive.read_bytes()
    shutil.copy(archive, index)
    archive.write_bytes(expected[:100])
    pin.download(release, archive.parent)
    assert archive.read_bytes() == expected


@pytest.mark.parametrize("cut", [False, True])
def test_another_file_than_the_pinned_one(fork: Fork, index: Path, cut: bool) -> None:
    archive = fork.fork / ".cache" / "django-6.1.3.tar.gz"
    release = pin.load(fork.pin) if cut else pin_of(fork, "0" * 64)
    content = archive.read_bytes()
    archive.unlink()
    (index / archive.name).write_bytes(content[:200] if cut else content)
    with pytest.raises(KitError, match=r"(?s) pinned in .* DO NOT MATCH THE HASHES"):
        pin.download(release, archive.parent)
    assert list(archive.parent.iterdir()) == []


def test_no_such_release(fork: Fork, index: Path) -> None:
    release = pin_of(fork, "0" * 64)
    with pytest.raises(KitError, match=r"can't download the sdist of Django 6\.1\.3"):
        pin.download(release, fork.fork / ".cache")


def test_a_damaged_archive_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "django.tar.gz"
    sdist(archive, FILES)
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(KitError, match="can't be unpacked"):
        pin.unpack(archive, tmp_path / "tree")
    assert list(tmp_path.iterdir()) == [archive]


def test_an_unsafe_archive_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "django.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("django-6.1.3/../../outside.py")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"#"))
    with pytest.raises(KitError, match="outside the destination"):
        pin.unpack(archive, tmp_path / "tree")
    assert list(tmp_path.iterdir()) == [archive]


def test_the_skeleton_has_the_headings_and_empty_bullets(fork: Fork) -> None:
    assert pin.release_notes(pin.load(fork.pin)) == (
        """\
============================================
Django 6.2 release notes - UNDER DEVELOPMENT
============================================

Python compatibility
====================

.. _whats-new-6.2:

What's new in Django 6.2
========================

Minor features
--------------

Cache
~~~~~

* ...

Models
~~~~~~

* ...

.. _backwards-incompatible-6.2:

Backwards incompatible changes in 6.2
=====================================

Miscellaneous
-------------

* ...

.. _deprecated-features-6.2:

Features deprecated in 6.2
==========================

Miscellaneous
-------------

* ...
"""
    )
