"""Moving the series to another release: merged, or stopped with nothing lost."""

import shutil
from pathlib import Path

import pytest

from patchkit import KitError, checkout
from patchkit.fork import Fork
from patchkit.git import git
from patchkit.rebase import abort, rebase
from patchkit.series import export
from patchkit.tests.conftest import FILES, commit, sdist, snapshot


def release(fork: Fork, module: str) -> str:
    """Put another release of "Django" into the cache; return its hash."""
    files = {**FILES, "django/module.py": module}
    return sdist(fork.fork / ".cache" / "django-6.1.4.tar.gz", files, "6.1.4")


def kept(fork: Fork) -> tuple[dict[str, bytes], bytes, str]:
    """Return what must not change."""
    head = git(fork.django, "rev-parse", "HEAD")
    return snapshot(fork.patches_dir), fork.pin.read_bytes(), head


def test_merged(series: Fork) -> None:
    sha256 = release(series, "# New.\n" * 3 + FILES["django/module.py"])
    assert rebase(series, "6.1.4", sha256)
    assert 'version = "6.1.4"' in series.pin.read_text()
    text = (series.django / "django" / "module.py").read_text()
    assert text.startswith("# New.\n")
    assert "line five\n" in text and "line thirty-five\n" in text
    # The files are in their canonical form, and nothing is left behind.
    assert export(series) == []
    assert not (series.fork / ".rebase").exists()
    assert not rebase(series, "6.1.4", sha256)


def test_conflict_is_resolved(series: Fork) -> None:
    before = kept(series)
    module = FILES["django/module.py"].replace("line 5\n", "line 5.0\n")
    sha256 = release(series, module)
    with pytest.raises(KitError, match="git rebase --continue"):
        rebase(series, "6.1.4", sha256)
    assert kept(series) == before
    tree = series.fork / ".rebase" / "django-fork" / "django"
    with pytest.raises(KitError, match="git rebase --continue"):
        rebase(series, "6.1.4", sha256)
    text = module.replace("line 5.0\n", "line five\n")
    (tree / "django" / "module.py").write_text(text)
    git(tree, "add", "--all")
    git(tree, "rebase", "--continue", env={"GIT_EDITOR": "true"})
    assert rebase(series, "6.1.4", sha256)
    assert len(series.patches()) == 2
    assert "-line 5.0" in series.patches()[0].read_text()
    assert not checkout.make(series)


def test_conflict_is_dropped(series: Fork) -> None:
    before = kept(series)
    sha256 = release(series, "")
    with pytest.raises(KitError, match="conflicts"):
        rebase(series, "6.1.4", sha256)
    with pytest.raises(KitError, match="onto something else"):
        rebase(series, "6.1.5", sha256)
    assert abort(series)
    assert kept(series) == before
    assert not abort(series)


def test_clone(series: Fork, clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What fits as it is stays as it is; the pin stays in any case."""
    before = kept(series)
    module = "# New.\n" * 3 + FILES["django/module.py"]
    commit(clone, "New.", {"django/module.py": module})
    assert not rebase(series, upstream=str(clone))
    assert "Copying clone at" in capsys.readouterr().out
    assert kept(series) == before
    assert not (series.fork / ".rebase").exists()


def test_clone_conflicts(series: Fork, clone: Path) -> None:
    before = kept(series)
    module = FILES["django/module.py"].replace("line 5\n", "line 5.0\n")
    commit(clone, "New.", {"django/module.py": module})
    with pytest.raises(KitError, match="git rebase --continue"):
        rebase(series, upstream=str(clone))
    tree = series.fork / ".rebase" / "django-fork" / "django"
    text = module.replace("line 5.0\n", "line five\n")
    (tree / "django" / "module.py").write_text(text)
    git(tree, "add", "--all")
    git(tree, "rebase", "--continue", env={"GIT_EDITOR": "true"})
    # There is no patch that fits both.
    with pytest.raises(KitError, match=r"does not apply to Django 6\.1\.3"):
        rebase(series, upstream=str(clone))
    assert kept(series) == before
    assert abort(series)


def test_wrong_hash(series: Fork) -> None:
    before = kept(series)
    release(series, "")
    shutil.rmtree(series.fork / ".cache" / "wheels", ignore_errors=True)
    with pytest.raises(KitError):
        rebase(series, "6.1.4", "0" * 64)
    assert kept(series) == before
    assert not (series.fork / ".rebase").exists()


def test_work_is_not_lost(series: Fork) -> None:
    (series.django / "django" / "module.py").write_text("work\n")
    sha256 = release(series, FILES["django/module.py"])
    with pytest.raises(KitError, match="uncommitted changes"):
        rebase(series, "6.1.4", sha256)
    assert (series.django / "django" / "module.py").read_text() == "work\n"
