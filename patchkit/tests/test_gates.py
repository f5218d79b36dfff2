"""What would make a committer send the series back, or a check close the PR."""

import email
import email.policy
import re
from pathlib import Path

import pytest

from patchkit import ROOT
from patchkit.fork import Fork
from patchkit.git import ROLE, ROLE_EMAIL
from patchkit.pull_request import message_problems

PATCHES = Fork().patches()
LETTERS = [ROOT / "patches" / name for name in ("cover-letter.md", "proposal.md")]
MESSAGE = "Refs #31997 -- Added a thing.\n\nBecause it was missing.\n"
# Of a machine, or of a place that packages come from.
PRIVATE = re.compile(
    r"(?<![\w.])/(?:home|root|work|tmp|Users|opt|mnt)/\w|[A-Z]:\\\w|"
    r"\blocalhost\b|\b\d+\.\d+\.\d+\.\d+\b"
)
HOSTS = {"code.djangoproject.com", "playwright.dev"}
# Where the letters' facts can be read.
SOURCES = {"docs.djangoproject.com", "github.com", "hexdocs.pm"}


def message(patch: Path) -> str:
    """Return the commit message of a patch."""
    content = email.message_from_bytes(patch.read_bytes(), policy=email.policy.default)
    subject = re.sub(r"^\[PATCH\] ", "", str(content["Subject"]).replace("\n", ""))
    body = str(content.get_payload()).split("\n---\n")[0]
    return f"{subject}\n\n{body}"


def added(patch: Path) -> list[str]:
    """Return the lines that a patch adds."""
    diff = patch.read_text(encoding="utf-8").split("\ndiff --git ", 1)[1]
    lines = diff.splitlines()
    return [line[1:] for line in lines if line.startswith("+") and line[:3] != "+++"]


def test_there_are_patches() -> None:
    assert len(PATCHES) >= 4
    assert sum("Fixed #31997" in message(patch) for patch in PATCHES) == 1


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name[:4])
def test_patch(patch: Path) -> None:
    assert message_problems(message(patch)) == []
    text = patch.read_text(encoding="utf-8")
    assert f"\nFrom: {ROLE} <{ROLE_EMAIL}>\n" in text
    assert not [line for line in added(patch) if line != line.rstrip()]
    assert not [line for line in added(patch) if PRIVATE.search(line)]
    links = re.findall(r"https?://([^/\s`\"]+)", "\n".join(added(patch)))
    assert set(links) <= HOSTS
    # Code comes with its tests and its documentation.
    files = re.findall(r"^\+\+\+ b/(\w+)/", text, re.MULTILINE)
    assert {"tests", "docs"} <= set(files) or "django" not in files


def test_release_note() -> None:
    notes = [
        patch for patch in PATCHES if "b/docs/releases/6.2.txt" in patch.read_text()
    ]
    assert notes


def test_public_names_are_documented() -> None:
    documented = "\n".join(
        line
        for patch in PATCHES
        for line in added(patch)
        if not line.startswith(("def ", "class "))
    )
    code = [
        section
        for patch in PATCHES
        for section in patch.read_text(encoding="utf-8").split("\ndiff --git ")
        if section.startswith("a/django/")
    ]
    names = re.findall(r"^\+([A-Z][A-Z_]+) = ", "\n".join(code), re.MULTILINE)
    assert names == ["DATABASE_CONNECTION_SCOPE"]
    for directive in (
        ".. setting:: DATABASE_CONNECTION_SCOPE",
        ".. function:: isolated_connections()",
        "* **async.E002**:",
    ):
        assert directive in documented


@pytest.mark.parametrize("file", LETTERS, ids=lambda file: file.stem)
def test_letters(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not PRIVATE.search(text)
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert set(re.findall(r"https?://([^/\s)]+)", text)) <= HOSTS | SOURCES


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (MESSAGE.replace("#31997", "#1"), "the subject isn't"),
        (MESSAGE.replace("Added", "Add"), "the subject isn't"),
        (MESSAGE.replace("thing.", "thing"), "the subject isn't"),
        (MESSAGE.replace("a thing", "a thing" * 8), "the subject has"),
        (MESSAGE.replace("\n\n", "\n"), "there is no empty line"),
        (MESSAGE.split("\n")[0], "it doesn't say why"),
        (MESSAGE.replace("it was", "it was" * 20), "line 3 has"),
        (MESSAGE.replace("missing.", "missing. "), "line 3 has space"),
    ],
)
def test_bad_messages(bad: str, problem: str) -> None:
    assert message_problems(MESSAGE) == []
    assert [p for p in message_problems(bad) if p.startswith(problem)]
