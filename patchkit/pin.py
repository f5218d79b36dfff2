"""The pin: base.toml, the release that the series is carried on, and its sdist."""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from patchkit import KitError, relative, say


@dataclass(frozen=True)
class Sdist:
    """A release of Django on PyPI.

    Attributes:
        version: its version.
        sha256: of its sdist, in hexadecimal.
    """

    version: str
    sha256: str

    @property
    def archive_name(self) -> str:
        """The file name of the sdist."""
        return f"django-{self.version}.tar.gz"


@dataclass(frozen=True)
class Wheel(Sdist):
    """A release that `make wheel` makes a wheel of.

    Attributes:
        diff: the name of a file beside base.toml. For the files in it, it takes
            the place of what the series changes; "" if there is none.
    """

    diff: str = ""


@dataclass(frozen=True)
class Pin(Sdist):
    """What django-fork/base.toml pins.

    Attributes:
        next_version: the feature release that the series is written for.
        minor_features: headings of the next release's notes, in order.
        backwards_incompatible: likewise.
        deprecated: likewise.
        wheels: the other releases that there can be wheels of.
    """

    next_version: str
    minor_features: tuple[str, ...]
    backwards_incompatible: tuple[str, ...]
    deprecated: tuple[str, ...]
    wheels: tuple[Wheel, ...] = ()


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
        return Pin(
            version=data["base"]["version"],
            sha256=data["base"]["sha256"],
            next_version=data["next"]["version"],
            minor_features=tuple(data["next"]["minor_features"]),
            backwards_incompatible=tuple(data["next"]["backwards_incompatible"]),
            deprecated=tuple(data["next"]["deprecated"]),
            wheels=tuple(Wheel(**wheel) for wheel in data.get("wheel", ())),
        )
    except OSError as e:
        raise KitError(f"{relative(path)} can't be read: {e.strerror}.") from e
    except tomllib.TOMLDecodeError as e:
        raise KitError(f"{relative(path)} is not valid TOML: {e}.") from e
    except KeyError as e:
        raise KitError(f"{relative(path)} lacks the key {e}.") from e
    except TypeError as e:
        raise KitError(f"{relative(path)}: {e}.") from e


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        if _sha256(archive) == sdist.sha256:
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
        command = [
            *[sys.executable, "-m", "pip", "download", "--quiet", "--no-input"],
            *["--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"],
            *["--no-build-isolation", "--require-hashes"],
            *["--dest", str(directory), "--requirement", str(requirements)],
        ]
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        downloaded = directory / sdist.archive_name
        if result.returncode or not downloaded.exists():
            output = (result.stderr or result.stdout).strip()
            if "DO NOT MATCH THE HASHES" in output:
                raise KitError(
                    f"The sdist of Django {sdist.version} that pip found is not the "
                    f"one pinned in django-fork/base.toml. Either the pin is wrong "
                    f"or the file was tampered with or cut short.\n{output}"
                )
            raise KitError(f"pip can't download Django {sdist.version}:\n{output}")
        downloaded.replace(archive)
    return archive


def unpack(archive: Path, target: Path) -> None:
    """Unpack an sdist, so that its top folder becomes the target.

    Args:
        archive: a .tar.gz with one folder at its top.
        target: the directory to make. Must not exist.

    Raises:
        KitError: the archive is damaged, holds anything unsafe (tarfile's
            "data" filter, PEP 706), or doesn't have one folder at its top.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpack-") as name:
        try:
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(name, filter="data")
        except (tarfile.TarError, EOFError, OSError) as e:
            raise KitError(f"{relative(archive)} can't be unpacked: {e}") from e
        tops = list(Path(name).iterdir())
        if len(tops) != 1 or not tops[0].is_dir():
            raise KitError(f"{relative(archive)} doesn't have one folder at its top.")
        tops[0].replace(target)


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
    lines: list[str] = []

    def heading(text: str, underline: str, *, label: str = "") -> None:
        if label:
            lines.extend([f".. _{label}:", ""])
        lines.extend([text, underline * len(text), ""])

    title = f"Django {version} release notes - UNDER DEVELOPMENT"
    lines.append("=" * len(title))
    heading(title, "=")
    heading("Python compatibility", "=")
    heading(f"What's new in Django {version}", "=", label=f"whats-new-{version}")
    heading("Minor features", "-")
    for section in pin.minor_features:
        heading(section, "~")
        lines.extend(["* ...", ""])
    for text, label, sections in (
        (
            f"Backwards incompatible changes in {version}",
            f"backwards-incompatible-{version}",
            pin.backwards_incompatible,
        ),
        (
            f"Features deprecated in {version}",
            f"deprecated-features-{version}",
            pin.deprecated,
        ),
    ):
        heading(text, "=", label=label)
        for section in sections:
            heading(section, "-")
            lines.extend(["* ...", ""])
    return "\n".join(lines[:-1]) + "\n"
