"""The commands behind the Makefile: checkout, export, runtests, demo."""

import sys
from importlib.metadata import distributions
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent


class KitError(click.ClickException):
    """Something the user can act on; printed without a traceback."""

    exit_code = 2


def installed() -> list[str]:
    """Return what a kept result depends on besides its input.

    Returns:
        Python's version, and the name and version of each package installed.
    """
    return [sys.version, *sorted(f"{d.name}=={d.version}" for d in distributions())]


def relative(path: Path, root: Path = ROOT) -> str:
    """Return a path as the user reads it.

    Args:
        path: the path to show.
        root: the repository that paths are shown relative to.

    Returns:
        The path relative to the repository, or as it is when outside of it.
    """
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def say(message: str) -> None:
    """Print a line of progress at once, also when the output is a pipe.

    Args:
        message: the line.
    """
    print(message, flush=True)
