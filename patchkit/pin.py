"""The pin: base.toml, the release that the series is carried on, and its sdist."""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from patchkit import KitError, relative, say


@dataclass(frozen=True, kw_only=True)
class Sdist:
    """A release of Django on PyPI.

    Attributes:
        version: its version.
        sha256: of its sdist, in hexadecimal.
        diff: the name of a file beside base.toml. For the files in it, it takes
            the place of what the series changes in a wheel; "" if there is none.
    """

    version: str
    sha256: str
    diff: str = ""

    @property
    def archive_name(self) -> str:
        """The file name of the sdist."""
        return f"django-{self.version}.tar.gz"


@dataclass(frozen=True, kw_only=True)
class Pin(Sdist):
    """What django-fork/base.toml pins.

    Attributes:
        next_version: the feature release that the series is written for.
        headings: of the next release's notes, those below each of three, in order.
        wheels: the other releases that there can be wheels of.
    """

    next_version: str
    headings: tuple[list[str], list[str], list[str]]
    wheels: tuple[Sdist, ...]


def load(path: Path) -> Pin:
    """Read base.toml.

    Args:
        path: the file.

    Returns:
        The pin.

    Raises:
        KitError: the file is missing, isn't TOML, or lacks a key.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        names = ("minor_features", "backwards_incompatible", "deprecated")
        minor, incompatible, deprecated = (data["next"][name] for name in names)
        return Pin(
            **data["base"],
            next_version=data["next"]["version"],
            headings=(minor, incompatible, deprecated),
            wheels=tuple(Sdist(**wheel) for wheel in data.get("wheel", ())),
        )
    except KeyError as e:
        raise KitError(f"{relative(path)} lacks the key {e}.") from e
    except (OSError, tomllib.TOMLDecodeError, TypeError) as e:
        raise KitError(f"{relative(path)}: {e}.") from e


def pip(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command of pip's that neither asks nor gets anything that isn't named.

    Args:
        arguments: the command and its options.
        env: variables on top of the process's.

    Returns:
        How it ended, with what it printed.
    """
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-input")
    return subprocess.run(
        [sys.executable, "-m", "pip", *arguments, *options],
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        umask=0o022,
    )


def download(sdist: Sdist, cache: Path) -> Path:
    """Get the sdist, from the cache or through pip.

    pip checks the hash before it looks into the archive. It then asks the
    archive for its metadata, which nothing turns off (pypa/pip#1884); with
    setuptools in this environment and without build isolation that builds and
    downloads nothing else.

    Args:
        sdist: the release.
        cache: the directory to keep the sdist in.

    Returns:
        The path of an archive whose hash is the pinned one.

    Raises:
        KitError: pip can't get it, or it isn't the file that was pinned.
    """
    archive = cache / sdist.archive_name
    if archive.exists():
        if hashlib.sha256(archive.read_bytes()).hexdigest() == sdist.sha256:
            return archive
        say(f"{relative(archive)} is not the pinned file: downloading it again.")
        archive.unlink()
    say(f"Downloading the sdist of Django {sdist.version} with pip.")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as name:
        directory = Path(name)
        requirements = directory / "requirements.txt"
        requirements.write_text(
            f"django=={sdist.version} --hash=sha256:{sdist.sha256}\n", encoding="utf-8"
        )
        result = pip(
            *("download", "--no-binary=:all:", "--require-hashes"),
            *(f"--dest={directory}", f"--requirement={requirements}"),
        )
        downloaded = directory / sdist.archive_name
        if result.returncode or not downloaded.exists():
            raise KitError(
                f"pip can't download the sdist of Django {sdist.version} that is "
                f"pinned in django-fork/base.toml:\n{result.stderr or result.stdout}"
            )
        downloaded.replace(archive)
    return archive


def unpack(archive: Path, target: Path) -> None:
    """Unpack an sdist, so that its top folder becomes the target.

    Args:
        archive: a .tar.gz with a folder of its name at its top.
        target: the directory to make. Must not exist.

    Raises:
        KitError: the archive is damaged, or holds anything unsafe (tarfile's
            "data" filter, PEP 706).
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpack-") as name:
        try:
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(name, filter="data")
        except (tarfile.TarError, EOFError, OSError) as e:
            raise KitError(f"{relative(archive)} can't be unpacked: {e}") from e
        (Path(name) / archive.name.removesuffix(".tar.gz")).replace(target)


def release_notes(pin: Pin) -> str:
    """Return the skeleton of the next release's notes.

    Each section holds an empty bullet, which is what a section without an
    entry holds on Django's main branch: the first entry replaces it, and a
    patch that does so applies on both.

    Args:
        pin: the pin, with the headings.

    Returns:
        The text of docs/releases/<next version>.txt.
    """
    version = pin.next_version
    minor, incompatible, deprecated = pin.headings
    title = f"Django {version} release notes - UNDER DEVELOPMENT"

    def heading(text: str, underline: str, label: str = "") -> str:
        label = f".. _{label}-{version}:\n\n" if label else ""
        return f"{label}{text}\n{underline * len(text)}\n"

    def bullets(texts: list[str], underline: str) -> list[str]:
        return [f"{heading(text, underline)}\n* ...\n" for text in texts]

    parts = [
        f"{'=' * len(title)}\n{heading(title, '=')}",
        heading("Python compatibility", "="),
        heading(f"What's new in Django {version}", "=", "whats-new"),
        heading("Minor features", "-"),
        *bullets(minor, "~"),
        heading(
            f"Backwards incompatible changes in {version}",
            *("=", "backwards-incompatible"),
        ),
        *bullets(incompatible, "-"),
        heading(f"Features deprecated in {version}", "=", "deprecated-features"),
        *bullets(deprecated, "-"),
    ]
    return "\n".join(parts)
