"""Tables: how wide they are, and those of README.md that commands write."""

import re

from rich.console import Console
from rich.table import Table

from patchkit import KitError, say
from patchkit.fork import Fork

# Room for every column where the output isn't a terminal.
WIDTH = 140
# No line of a table is ever as long as to be wrapped by rich.
WIDE = 1000


def markdown(table: Table) -> str:
    """Render a table as Markdown.

    Args:
        table: one with rich's box.MARKDOWN.

    Returns:
        The lines, without the padding of the columns: in a file it would make a
        wide diff of a small change.
    """
    console = Console(width=WIDE, color_system=None)
    with console.capture() as capture:
        console.print(table)
    lines = (line.strip() for line in capture.get().splitlines() if line.strip())
    return "\n".join(re.sub(r"(?<= ) +|(?<=---)-+", "", line) for line in lines)


def splice(text: str, name: str, content: str) -> str:
    """Put content between the markers of a name.

    Args:
        text: Markdown.
        name: such as "history: sqlite".
        content: what to put there.

    Returns:
        The text with the new content.

    Raises:
        KitError: the markers aren't there.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    if not pattern.search(text):
        raise KitError(f"README.md lacks the markers {begin} and {end}.")
    return pattern.sub(lambda match: f"{match[1]}\n{content}\n\n{match[2]}", text)


def write(fork: Fork, contents: dict[str, str]) -> None:
    """Put contents between their markers in README.md, if they differ.

    Args:
        contents: by the names of the markers.

    Raises:
        KitError: some markers aren't there; nothing is written then.
    """
    file = fork.root / "README.md"
    before = text = file.read_text(encoding="utf-8")
    for name, content in contents.items():
        text = splice(text, name, content)
    if text != before:
        file.write_text(text, encoding="utf-8")
        say("README.md has the new tables.")
