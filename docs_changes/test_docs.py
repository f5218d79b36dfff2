"""Deliberate mistakes in the documentation are found; those of the base aren't new."""

import json
import shutil
from pathlib import Path

import pytest

from docs_changes import docs, review
from docs_changes.docs import Problem
from patchkit.fork import Fork

# What Django's documentation is built with, as it is, around two small pages.
TOOLS = ("Makefile", "conf.py", "lint.py", "spelling_wordlist", "_ext", "_theme")
CONTENTS = """\
========
Contents
========

.. toctree::

    topic
"""
TOPIC = """\
=====
Topic
=====

.. _topic-label:

A section
=========

This refers to :ref:`a label <topic-label>` and to :func:`asyncio.run`::

    def function():
        return 1

"""
BROKEN = "This one refers to :ref:`nowhere`.\n"
MISSPELT = "This one is mispelt.\n"
INDENTED = "It's called like this::\n\n    def function():\n      return 1\n"
LONG = "This line is too long. " * 3 + "This one is too long.\n"


@pytest.fixture
def fork(tmp_path: Path) -> Fork:
    """Two trees with little documentation."""
    fork = Fork(tmp_path)
    for tree in docs.TREES:
        directory = fork.tree(tree) / "docs"
        directory.mkdir(parents=True)
        for name in ("django", "tests"):
            (directory.parent / name).symlink_to(Fork().tree("base") / name)
        for name in TOOLS:
            source = Fork().base / "docs" / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, directory / name)
        for name, text in (("contents", CONTENTS), ("topic", TOPIC)):
            (directory / f"{name}.txt").write_text(text)
    return fork


def add(fork: Fork, tree: str, text: str) -> None:
    """Add text to the topic of a tree."""
    with (fork.tree(tree) / "docs" / "topic.txt").open("a") as file:
        file.write(text)


def test_no_mistake(fork: Fork, capsys: pytest.CaptureFixture[str]) -> None:
    add(fork, "django", "This paragraph is new.\n")
    assert docs.build_both(fork)
    lines = capsys.readouterr().out.splitlines()
    made = [line.split("/")[-1] for line in lines if ": make " in line]
    checks = [c for c in docs.CHECKS if c != "spelling" or docs.spelling_is_possible()]
    # With nothing to compare it needs but the base's pages.
    assert made == [*(f"django: make {check}" for check in checks), "base: make html"]
    # Nothing is built again unless something has changed.
    assert docs.build_both(fork)
    assert capsys.readouterr().out.count("make ") == 0
    add(fork, "django", "\nSo is this one.\n")
    assert docs.build_both(fork)
    pages = [docs.output(fork, t) / "html" / "topic.html" for t in docs.TREES]
    assert [page.read_text().count("So is this one.") for page in pages] == [0, 1]


def add_page(fork: Fork, text: str) -> None:
    """Add a page to both trees, with a text in its fifth line."""
    for tree in docs.TREES:
        directory = fork.tree(tree) / "docs"
        (directory / "other.txt").write_text(f"=====\nOther\n=====\n\n{text}")
        (directory / "contents.txt").write_text(f"{CONTENTS}    other\n")


def test_mistake_by_another_page(
    fork: Fork, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page that is the same in both trees refers to what the other one lacks."""
    add_page(fork, ":ref:`topic-label` and :ref:`nowhere`.\n")
    topic = fork.django / "docs" / "topic.txt"
    topic.write_text(topic.read_text().replace("topic-label", "new-label"))
    assert not docs.build_both(fork)
    said = [
        line for line in capsys.readouterr().out.splitlines() if "undefined" in line
    ]
    (line,) = said
    assert line.startswith("html: docs/other.txt:5: WARNING: undefined label: 'topic-")


@pytest.mark.skipif(
    not docs.spelling_is_possible(), reason="apt install enchant-2 aspell-en"
)
def test_spelling(fork: Fork, capsys: pytest.CaptureFixture[str]) -> None:
    """In a page that differs, and in one that doesn't if the list of words does."""
    add_page(fork, "A word of the list: qwertz. This one is mispelt too.\n")
    words = fork.base / "docs" / "spelling_wordlist"
    with words.open("a") as file:
        file.write("qwertz\n")
    add(fork, "django", MISSPELT)
    assert not docs.build_both(fork)
    lines = capsys.readouterr().out.splitlines()
    said = [line for line in lines if line.startswith("spelling: ")]
    assert len(said) == 2
    assert said[0].startswith("spelling: docs/other.txt:5: Spell check: qwertz")
    assert said[1].startswith("spelling: docs/topic.txt:15: Spell check: mispelt")
    shutil.copy(fork.django / "docs" / "spelling_wordlist", words)
    add(fork, "base", MISSPELT)
    assert docs.build_both(fork)


def test_mistakes(fork: Fork, capsys: pytest.CaptureFixture[str]) -> None:
    complaints = {
        BROKEN: "html: docs/topic.txt:{}: WARNING: undefined label: 'nowhere'",
        INDENTED: "black: docs/topic.txt: Rewriting...",
        LONG: "lint: docs/topic.txt:{}: Line too long",
        "See :setting:`DATABASE_SCOPE`.\n": "html: docs/topic.txt:{}: WARNING: ",
        "See :func:`asyncio.runs`.\n": (
            "html: docs/topic.txt:{}: WARNING: py:func reference target not found"
        ),
    }
    mistakes = "\n".join(complaints)
    add(fork, "django", mistakes)
    assert not docs.build_both(fork)
    lines = capsys.readouterr().out.splitlines()
    before = TOPIC
    for mistake, complaint in complaints.items():
        start = complaint.format(before.count("\n") + 1)
        assert len([line for line in lines if line.startswith(start)]) == 1, lines
        before += f"{mistake}\n"
    assert len([line for line in lines if ": docs/" in line]) == len(complaints)
    # Nor on the second time, when nothing is built.
    assert not docs.build_both(fork)
    # The base has them too: moved by lines, they are still the same.
    add(fork, "base", "Something else.\n\n" + mistakes)
    assert docs.build_both(fork)


def test_colors(
    fork: Fork, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both tox and CI ask for them; they aren't parts of a problem."""
    for name in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE"):
        monkeypatch.setenv(name, "1")
    for tree in docs.TREES:
        add(fork, tree, BROKEN)
    assert docs.build_both(fork)
    record = json.loads(docs.output(fork, "problems.json").read_text())
    for tree in docs.TREES:
        (problem,) = record[tree]
        assert problem["file"] == "topic.txt"


def test_new_problems_are_counted() -> None:
    one, other = (Problem("html", "a.txt", "WARNING: x", line) for line in (1, 2))
    assert docs.new_problems([one], [other]) == []
    assert docs.new_problems([one], [one, other]) == [one, other]


def test_compare() -> None:
    code = (
        '<div class="highlight-default notranslate"><pre><span>def</span> f():\n'
        "    <span>pass</span>\n\n</pre></div>"
    )
    before = f'<p>An <a href="#old">old</a> word.</p>{code}<p>Gone.</p>'
    after = f'<p>A <a href="#new">new</a> word.</p>{code}<p>So.</p>{code * 2}'
    old, new = review.compare(before, after)
    assert "<ins>" not in old and "<del>" not in new
    assert "<del>Gone.</del>" in old and "Gone." not in new
    assert '<a href="#new">' in new and "Link:" not in new
    # Code stays as it is, byte for byte.
    assert old.count(code) == 1 and new.count(code) == 3


def test_lists_keep_their_items() -> None:
    items = [f'<li><p><a href="{name}">{name}</a></p></li>' for name in "abcdefgh"]
    before = f"<ul>{''.join(items)}</ul>"
    after = f"<ul>{''.join([*items[:2], '<li><p>new</p></li>', *items[2:]])}</ul>"
    old, new = review.compare(before, after)
    # All but the items beside the new one are folded where there is more than one.
    folded = "".join(items[3:])
    folded = (
        f'<li class="folded"><details><summary>5 unchanged</summary><ul>{folded}</ul>'
        "</details></li>"
    )
    assert old == f"<ul>{''.join(items[:3])}{folded}</ul>"
    marked = "<li><ins><p>new</p></ins></li>"
    assert new == f"<ul>{''.join(items[:2])}{marked}{items[2]}{folded}</ul>"


def test_headings() -> None:
    text = (
        CONTENTS + "\n" + TOPIC + "\nTable\n~~~~~\n\n====  ====\na     b\n====  ====\n"
    )
    lines = text.splitlines()
    found = [lines[number - 1] for number in review.headings(text)]
    assert found == ["Contents", "Topic", "A section", "Table"]
