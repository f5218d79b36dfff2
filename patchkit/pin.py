"""The pin: base.toml, the release that the series is carried on, and its sdist."""

import hashlib
import os
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from patchkit import KitError, processes, relative, say


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


@dataclass(frozen=True, kw_only=True)
class Pin(Sdist):
    """What django-fork/base.toml pins.

    Attributes:
        next_version: the feature release that the series is written for.
        headings: of the next release's notes, those below each of three, in order.
        wheels: the other releases that there can be wheels of.
    """

    next_version: str
    headings: list[list[str]]
    wheels: list[Sdist]


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
        return Pin(
            **data["base"],
            next_version=data["next"]["version"],
            headings=[data["next"][name] for name in names],
            wheels=[Sdist(**wheel) for wheel in data.get("wheel", ())],
        )
    except KeyError as e:
        raise KitError(f"{relative(path)} lacks the key {e}.") from e
    except (OSError, tomllib.TOMLDecodeError, TypeError) as e:
        raise KitError(f"{relative(path)}: {e}.") from e


def pip(trouble: str, *arguments: str, stdin: str = "", **env: str) -> None:
    """Run a command of pip's that neither asks nor gets anything that isn't named.

    Args:
        trouble: what to say if it fails.
        arguments: the command and its options.
        stdin: what it can read there.
        env: variables on top of the process's.

    Raises:
        KitError: it fails; with what it printed.
    """
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-input")
    command = (sys.executable, "-m", "pip", *arguments, *options)
    env = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | env
    result = processes.capture(command, stdin=stdin, env=env, umask=0o022)
    if result.returncode:
        raise KitError(f"{trouble}:\n{result.stderr or result.stdout}")


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
    archive = cache / f"django-{sdist.version}.tar.gz"
    if archive.exists():
        if hashlib.sha256(archive.read_bytes()).hexdigest() == sdist.sha256:
            return archive
        say(f"{relative(archive)} is not the pinned file: downloading it again.")
        archive.unlink()
    say(f"Downloading the sdist of Django {sdist.version} with pip.")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as name:
        pip(
            f"pip can't download the sdist of Django {sdist.version} that is pinned in "
            "django-fork/base.toml",
            *("download", "--no-binary=:all:", f"--dest={name}"),
            *("--require-hashes", "--requirement=/dev/stdin"),
            stdin=f"django=={sdist.version} --hash=sha256:{sdist.sha256}\n",
        )
        # Older ones have a capital letter.
        (downloaded,) = Path(name).iterdir()
        downloaded.replace(archive)
    return archive


def unpack(archive: Path, target: Path, *without: str) -> None:
    """Unpack an sdist, so that its top folder becomes the target.

    Args:
        archive: a .tar.gz with one folder at its top.
        target: the directory to make. Must not exist.
        without: directories in that folder that nobody will look for.

    Raises:
        KitError: the archive is damaged, or holds anything unsafe (tarfile's
            "data" filter, PEP 706).
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpack-") as name:
        try:
            with tarfile.open(archive, "r:gz") as tar:
                keep = [f for f in tar if {*without}.isdisjoint(f.name.split("/")[1:2])]
                tar.extractall(name, keep, filter="data")
        except (tarfile.TarError, EOFError, OSError) as e:
            raise KitError(f"{relative(archive)} can't be unpacked: {e}") from e
        (folder,) = Path(name).iterdir()
        folder.replace(target)


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

    def heading(text: str, underline: str) -> str:
        return f"{text}\n{underline * len(text)}\n"

    def bullets(texts: list[str], underline: str) -> list[str]:
        return [f"{heading(text, underline)}\n* ...\n" for text in texts]

    title = heading(f"Django {version} release notes - UNDER DEVELOPMENT", "=")
    parts = [
        # It has a line of the same length above it too.
        f"{title.splitlines()[1]}\n{title}",
        heading("Python compatibility", "="),
        f".. _whats-new-{version}:\n",
        heading(f"What's new in Django {version}", "="),
        heading("Minor features", "-"),
        *bullets(minor, "~"),
        f".. _backwards-incompatible-{version}:\n",
        heading(f"Backwards incompatible changes in {version}", "="),
        *bullets(incompatible, "-"),
        f".. _deprecated-features-{version}:\n",
        heading(f"Features deprecated in {version}", "="),
        *bullets(deprecated, "-"),
    ]
    return "\n".join(parts)
