"""The pages: how long they are, and that their tables are what commands wrote."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest
from unidiff import PatchSet

from patchkit import ROOT, KitError, tables
from patchkit.fork import BASE_BRANCH, BRANCH, Fork
from patchkit.git import git

PAGE = """\
Before.

<!-- bench: one -->
old
<!-- end of bench: one -->

Between.

<!-- bench: two -->
<!-- end of bench: two, 0123456789ab -->
"""
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}
# Which tables a page has.
TABLES = {
    "README.md": {"demo: shapes"},
    "patches/cover-letter.md": {"demo: shapes"},
    "patches/proposal.md": {"demo: shapes"},
    "results/README.md": {
        "bench: fan-out",
        "bench: ratios",
        "history: postgresql",
        "history: sqlite",
    },
}


@pytest.fixture
def pages(tmp_path: Path) -> Fork:
    for page in tables.PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text(PAGE)
    return Fork(tmp_path)


def texts(fork: Fork) -> set[str]:
    return {(fork.root / page).read_text() for page in tables.PAGES}


def test_write(pages: Fork) -> None:
    tables.write(pages, {"bench: one": "| new |"})
    (text,) = texts(pages)
    assert "old" not in text
    begin = text.index("<!-- bench: one -->\n")
    assert begin < text.index("\n| new |\n") < text.index("Between.")
    assert tables.splice(text, {"bench: one": "| new |"}) == text


def test_no_markers(pages: Fork) -> None:
    with pytest.raises(KitError, match="No page has the markers <!-- bench: 3 -->"):
        tables.write(pages, {"bench: one": "| new |", "bench: 3": "| new |"})
    assert texts(pages) == {PAGE}


def edited(text: str) -> list[str]:
    """Return the names of the blocks that aren't as a command wrote them."""
    blocks = {match["name"]: match for match in tables.BLOCK.finditer(text)}
    return [
        name
        for name, block in blocks.items()
        if tables.splice(block[0], {name: block["content"]}) != block[0]
    ]


def test_edits_are_found() -> None:
    assert edited(PAGE) == ["bench: one", "bench: two"]
    text = tables.splice(PAGE, {"bench: one": "| 1 |", "bench: two": "| 2 |"})
    assert edited(text) == []
    assert edited(text.replace("| 1 |", "| 0 |")) == ["bench: one"]


@pytest.mark.parametrize("page", tables.PAGES)
def test_tables_are_what_commands_wrote(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert {match["name"] for match in tables.BLOCK.finditer(text)} == TABLES[page]
    assert edited(text) == []
    # No marker that its counterpart is missing for.
    assert len(re.findall("<!--", text)) == 2 * len(TABLES[page])


def cells(page: str, name: str) -> list[list[str]]:
    """Return a table that a command wrote, row by row, without its rule."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (block,) = (m["content"] for m in tables.BLOCK.finditer(text) if m["name"] == name)
    rows = [line.strip("| ").split(" | ") for line in block.strip().splitlines()]
    return [rows[0], *rows[2:]]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_all_tables_have_the_same_shapes(database: str) -> None:
    shapes = [row[0] for row in cells("README.md", "demo: shapes")[1:]]
    assert len(shapes) == 7
    assert cells("results/README.md", f"history: {database}")[0][3:] == shapes


def test_costs_are_what_the_cover_letter_says() -> None:
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| ((?:lookup|ORM), .+?) \|.*?\|.*?\| ([\d.]+) ", text, re.M)
    ratios = {name: float(ratio) for name, ratio in found}
    thread = ', loop, "thread"'
    rows = "ORM, 1,000 rows of a cursor"
    told = {
        "lookup, sync": "takes {:.2f} times as long as on main",
        f"lookup{thread}": 'takes {:.2f} times with `"thread"`',
        'lookup, loop, "context"': 'and {:.2f} times with `"context"`',
        f"ORM, create in a block{thread}": "in a block takes {:.2f} times as long",
        f"ORM, two nested blocks{thread}": "with nothing inside {:.2f} times.",
        rows: "each of which is checked, takes {:.2f} times as long on SQLite",
    }
    letter = words("patches/cover-letter.md")
    assert ratios["lookup, sync"] < 1 / 2
    assert ratios[f"lookup{thread}"] < 1 / 2
    assert ratios['lookup, loop, "context"'] <= 1.4
    # In synchronous code and on an event loop it's the same.
    assert abs(ratios.pop(f"{rows}{thread}") - ratios[rows]) < 0.05
    for name, sentence in told.items():
        assert sentence.format(ratios.pop(name)) in letter
    calls = [ratio for name, ratio in ratios.items() if name.startswith("ORM, ")]
    assert len(calls) == 6
    assert all(0.95 <= ratio <= 1.05 for ratio in calls)


def series(*options: str) -> str:
    """Return what git says of the difference that the series makes."""
    return git(Fork().django, "diff", f"{BASE_BRANCH}..{BRANCH}", *options)


def added(*paths: str) -> int:
    """Return how many lines the series adds to files, as git counts them."""
    lines = series("--numstat", "--", *paths).splitlines()
    return sum(int(line.split("\t")[0]) for line in lines)


def added_code() -> int:
    """Return how many of the lines in django/ are neither comments nor docstrings."""
    count = 0
    for file in PatchSet(series("-U0", "--", "django")):
        text = git(Fork().django, "show", f"{BRANCH}:{file.path}")
        code: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in NO_CODE:
                code.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                code.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
        lines = [line for hunk in file for line in hunk if line.is_added]
        count += sum(line.target_line_no in code for line in lines)
    return count


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize(
    ("path", "limit"),
    [("django", 305), ("docs/topics/async.txt", 120), ("tests", 1429)],
)
def test_the_series_is_small(path: str, limit: int) -> None:
    assert 0 < added(path) <= limit


def words(page: str) -> str:
    return " ".join((ROOT / page).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("page", ["patches/cover-letter.md", "patches/proposal.md"])
def test_sizes_are_those_of_the_series(page: str) -> None:
    pattern = (
        r"([\d,]+) added lines in `django/`, ([\d,]+) in `docs/`, ([\d,]+) in `tests/`"
    )
    match = re.search(pattern, words(page))
    assert match
    sizes = [int(number.replace(",", "")) for number in match.groups()]
    assert sizes == [added("django"), added("docs"), added("tests")]


def test_size_of_the_code() -> None:
    code = added_code()
    assert 0 < code <= 225
    assert f"; {code} of the first are code." in words("patches/cover-letter.md")
