"""Django's form is filled in, with nothing that only the submitter can say."""

from pathlib import Path

import pytest

from patchkit import KitError, pull_request
from patchkit.fork import Fork

# In the form of Django's, with words of our own.
TEMPLATE = """\
#### Trac ticket number
<!-- A number. -->

ticket-XXXXX

#### Branch description
<!-- Some words. -->

#### AI Assistance Disclosure (REQUIRED)
<!-- One of them. -->
- [ ] **No AI tools were used** here.
- [ ] **If AI tools were used**, they are named, and all is reviewed.
<!-- Where? -->

#### Checklist
- [ ] This follows the guidelines.
- [ ] No secrets.
- [ ] It is for the `main` branch. <!-- A comment. -->
- [ ] The commit message is in order.
- [ ] No automated review was requested.

<!-- Others. -->
- [ ] The "Has patch" flag.
- [ ] There are relevant tests.
- [ ] There are relevant docs.
- [ ] The screenshots.
"""
# Likewise: it asks GitHub, and comments.
CHECK = """\
import re

def github_request(method, path, token, repo, data=None, params=None):
    raise ConnectionError

def fetch_trac_ticket(ticket):
    raise ConnectionError

def main(repo, token, author, body, number, pr_title=""):
    assert github_request("GET", "/commits", token, repo) == []
    assert github_request("GET", "/pulls/0/files", token, repo)[0]["changes"] > 500
    assert fetch_trac_ticket("31997") is None
    wrong = [
        name
        for name, found in (
            ("Checklist", body.count("- [x]") >= 6),
            ("Title", re.search(r"#\\d+", pr_title)),
            ("Description", re.search("description\\n[^<]", body)),
        )
        if not found
    ]
    if wrong:
        parts = [f"<strong>! Error: {name}</strong>" for name in wrong]
        github_request("POST", "/issues", token, repo, {"body": "\\n".join(parts)})
        return 1
"""
TITLE = "Fixed #31997 -- Did it."
DESCRIPTION = "Five words are enough here."
OWN = [
    "This follows the guidelines.",
    "No secrets.",
    "No automated review was requested.",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of "Django" with its check."""
    file = tmp_path / pull_request.CHECK
    file.parent.mkdir(parents=True)
    file.write_text(CHECK)
    return tmp_path


@pytest.mark.parametrize(
    "disclosure", ["none", "A tool by the name of X wrote the tests."]
)
def test_pull_request(disclosure: str, tree: Path) -> None:
    text = (Fork().patches_dir / "cover-letter.md").read_text(encoding="utf-8")
    title, description = pull_request.read_letter(text)
    body = pull_request.fill(TEMPLATE, description, disclosure, lambda statement: True)
    pull_request.check(tree, title, body)
    assert body.count("- [x]") == 1 + 5 + 2
    assert "<!--" not in body
    assert "ticket-31997" in body and "XXXXX" not in body
    assert (f"\n{disclosure}\n" in body) is (disclosure != "none")


@pytest.mark.parametrize(
    ("disclosure", "asked"),
    [
        ("none", OWN),
        (
            "X wrote all of the tests.",
            ["**If AI tools were used**, they are named, and all is reviewed.", *OWN],
        ),
    ],
)
def test_only_the_submitter_can_say_so(disclosure: str, asked: list[str]) -> None:
    statements: list[str] = []

    def no(statement: str) -> bool:
        statements.append(statement)
        return False

    body = pull_request.fill(TEMPLATE, DESCRIPTION, disclosure, no)
    assert statements == asked
    for statement in asked:
        assert f"- [ ] {statement}" in body
    # What the tool knows by itself, and that no tools were used.
    assert body.count("- [x]") == 4 + (disclosure == "none")


def test_the_letters_lines_are_joined() -> None:
    text = (
        "# A\n\n<!-- x -->\n\nOne\ntwo:\n\n```\n1\n2\n```\n\n<!-- end -->\n\n"
        "- three\n  four\n- five\n\n1. six\n   7\n2. eight\n\n| 9 |\n|---|\n"
    )
    description = (
        "One two:\n\n```\n1\n2\n```\n\n- three four\n- five\n\n1. six 7\n2. eight\n\n"
        "| 9 |\n|---|"
    )
    assert pull_request.read_letter(text) == ("A", description)


@pytest.mark.parametrize("disclosure", ["", "yes", "with a tool"])
def test_nothing_is_guessed(disclosure: str) -> None:
    with pytest.raises(KitError, match="AI tools"):
        pull_request.fill(TEMPLATE, DESCRIPTION, disclosure, lambda statement: True)


@pytest.mark.parametrize("section", ["Trac ticket", "Branch", "AI", "Checklist"])
def test_changed_template(section: str) -> None:
    template = TEMPLATE.replace(f"#### {section}", "#### Something else")
    with pytest.raises(KitError, match=f"has no .#### {section}"):
        pull_request.fill(template, DESCRIPTION, "none", lambda statement: True)


def test_the_clones_own_check(tree: Path) -> None:
    body = pull_request.fill(TEMPLATE, DESCRIPTION, "none", lambda statement: True)
    pull_request.check(tree, TITLE, body)
    with pytest.raises(KitError, match=r"complains: Error: Title\.$"):
        pull_request.check(tree, "Did it.", body)
    with pytest.raises(KitError, match="Error: Checklist; Error: Description"):
        pull_request.check(tree, TITLE, TEMPLATE)
