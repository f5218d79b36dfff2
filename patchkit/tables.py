"""Tables: how wide they are, and those that commands write into pages."""

import hashlib
import re
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from patchkit import KitError, say
from patchkit.fork import Fork

# In characters. No line of a table is ever as long as to be wrapped by rich.
WIDTH = 1000


def show(table: Table) -> None:
    """Print a table, wrapped only by the width of a terminal."""
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def markdown(table: Table) -> str:
    """Render a table as Markdown.

    Args:
        table: one with rich's box.MARKDOWN.

    Returns:
        The lines, without the padding of the columns: in a file it would make a
        wide diff of a small change.
    """
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(table)
    lines = (line.strip() for line in capture.get().splitlines() if line.strip())
    return "\n".join(re.sub(r"(?<= ) +|(?<=---)-+", "", line) for line in lines)


# The pages with tables that commands write. One can be in several.
LETTERS = ("patches/cover-letter.md", "patches/proposal.md")
PAGES = ("README.md", "results/README.md", *LETTERS)
BLOCK = re.compile(
    r"(?s)<!-- (?P<name>\w+: [\w-]+) -->\n(?P<content>.*?)"
    r"<!-- end of (?P=name)(?:, \w+)? -->"
)


def _block(name: str, content: str) -> str:
    """Return a block as commands write it, with a digest that tells of edits."""
    content = f"\n{content.strip()}\n\n"
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    return f"<!-- {name} -->\n{content}<!-- end of {name}, {digest} -->"


def splice(text: str, contents: Mapping[str, str]) -> str:
    """Put contents between the markers of their names.

    Args:
        text: Markdown; names without markers in it are passed over.
        contents: by names such as "history: sqlite".

    Returns:
        The text with the new contents.
    """

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        return _block(name, contents[name]) if name in contents else match[0]

    return BLOCK.sub(replace, text)


def write(fork: Fork, contents: Mapping[str, str]) -> None:
    """Put contents between their markers in all pages, if they differ.

    Args:
        contents: by the names of the markers.

    Raises:
        KitError: the markers of some are in no page; nothing is written then.
    """
    texts = {page: (fork.root / page).read_text(encoding="utf-8") for page in PAGES}
    known = {match["name"] for text in texts.values() for match in BLOCK.finditer(text)}
    for name in sorted(contents.keys() - known):
        raise KitError(
            f"No page has the markers <!-- {name} --> and <!-- end of {name} -->: "
            f"put them into one of {', '.join(PAGES)}."
        )
    for page, text in texts.items():
        new = splice(text, contents)
        if new != text:
            (fork.root / page).write_text(new, encoding="utf-8")
            say(f"{page} has the new tables.")
