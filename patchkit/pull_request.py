"""The pull request: its commits' messages, and Django's form, filled in and checked."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from patchkit import KitError, processes

TICKET = "31997"
# git's own advice, which Django's guidelines take over. In characters.
SUBJECT_WIDTH = BODY_WIDTH = 72
# What Django's check calls a description.
MIN_WORDS = 5
TEMPLATE = ".github/pull_request_template.md"
CHECK = "scripts/pr_quality/check_pr.py"
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
BOX = re.compile(r"^- \[[ x]\] ", re.MULTILINE)
# Statements that `make submit` checks, or that the series is known to fulfil ...
CHECKED = ("the `main` branch", "commit message is", "relevant tests", "relevant docs")
# ... and those that don't apply, or not yet. All others are the submitter's own, but
# for the first of these two, which the disclosure says.
OPEN = ("Has patch", "screenshots")
NO_AI, AI = "No AI tools were used", "If AI tools were used"
# What of it has to be as this knows it.
SECTIONS = ("Trac ticket number", "Branch description", "AI Assistance", "Checklist")
NEEDED = (*(f"#### {section}" for section in SECTIONS), NO_AI, AI)
# Runs the check from the clone, with the answers that a first pull request gets, but
# for the ticket, which isn't looked up. What it would comment is printed.
RUN_CHECK = """
import sys
from pr_quality import check_pr

def github_request(method, path, token, repo, data=None, params=None):
    if method == "POST":
        print(data["body"])
    return [{"changes": 10000}] if path.endswith("/files") else []

check_pr.github_request = github_request
check_pr.fetch_trac_ticket = lambda ticket: None
check_pr.main("", "", "", sys.argv[2], "0", pr_title=sys.argv[1])
"""


def message_problems(message: str, ticket: str = TICKET) -> list[str]:
    """Hold a commit's message against Django's rules.

    They are those of docs/internals/contributing/committing-code.txt, as of November
    2026.

    Args:
        message: the whole message.
        ticket: the number it has to have.

    Returns:
        A line for each rule that it breaks; empty if none.
    """
    subject, *rest = message.rstrip("\n").split("\n")
    form = rf"(?:Refs|Fixed) #{ticket} -- [A-Z]\w*ed .+\.$"
    wanted = f"'Refs #{ticket} -- <Past tense> ... .' or 'Fixed ...'"
    problems = {
        f"the subject isn't {wanted}": not re.match(form, subject),
        f"the subject has {len(subject)} characters": len(subject) > SUBJECT_WIDTH,
        "there is no empty line below the subject": bool(rest and rest[0]),
        "it doesn't say why": not "".join(rest).strip(),
    }
    for number, line in enumerate(rest, 2):
        problems[f"line {number} has {len(line)} characters"] = len(line) > BODY_WIDTH
        problems[f"line {number} has space at its end"] = line != line.rstrip()
    return [problem for problem, found in problems.items() if found]


def read_letter(text: str, ticket: str = TICKET) -> tuple[str, str]:
    """Read the cover letter: a heading of the first level, and what is below it.

    Args:
        text: what patches/cover-letter.md says.
        ticket: the number for the title.

    Returns:
        The title of the pull request, and the Markdown for the template's section
        with the description.

    Raises:
        KitError: there is no such heading.
    """
    text = re.sub(rf"{COMMENT.pattern}\n+", "", text, flags=re.DOTALL)
    match = re.match(r"# ([^\n]+)\n\n(.+)", _unwrap(text), re.DOTALL)
    if not match:
        raise KitError("patches/cover-letter.md doesn't begin with '# <title>'.")
    return match[1].strip().replace(f"#{TICKET}", f"#{ticket}"), match[2].strip()


def _unwrap(text: str) -> str:
    """Join the lines of each paragraph: a pull request shows where they end."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    # Neither the items of lists nor the rows of tables.
    next_line = re.compile(r"(?<=\S)\n *(?=\S)(?!- |\d+\. |[|#])")
    parts[::2] = [next_line.sub(" ", part) for part in parts[::2]]
    return "".join(parts)


def fill(
    template: str,
    description: str,
    disclosure: str,
    confirm: Callable[[str], bool],
    ticket: str = TICKET,
) -> str:
    """Fill Django's template for pull requests in.

    Args:
        template: the template's text.
        description: for the section of that name.
        disclosure: "none" if no AI tools were used, otherwise which ones and
            for what, in five words or more.
        confirm: asked about each statement that only the submitter can make,
            whether it is true. It isn't ticked otherwise.
        ticket: the number for the template.

    Returns:
        The body of the pull request.

    Raises:
        KitError: the template isn't as this knows it, or the disclosure is too
            short.
    """
    none = disclosure.strip().lower() == "none"
    if not none and len(disclosure.split()) < MIN_WORDS:
        raise KitError(
            "Django wants to know whether AI tools were used: say 'none', or which "
            f"ones and for what in at least {MIN_WORDS} words."
        )
    text = COMMENT.sub("", template.replace("\r\n", "\n"))
    if missing := [words for words in NEEDED if words not in text]:
        raise KitError(
            f"Django's template for pull requests has no {missing[0]!r} now: write "
            "the pull request by hand, with patches/cover-letter.md."
        )

    left = (*OPEN, AI if none else NO_AI)

    def tick(line: str) -> str:
        statement = BOX.sub("", line)
        if statement == line or any(words in line for words in left):
            return line
        known = any(words in line for words in (*CHECKED, NO_AI))
        return BOX.sub("- [x] ", line) if known or confirm(statement) else line

    text = re.sub(r"ticket-X+", f"ticket-{ticket}", text)
    body = []
    for part in re.split(r"^(?=#### )", text, flags=re.MULTILINE)[1:]:
        heading, *lines = (tick(x.rstrip()) for x in part.splitlines() if x.strip())
        if heading.startswith("#### Branch"):
            lines = [description]
        elif heading.startswith("#### AI") and not none:
            lines += ["", disclosure]
        body += [heading, *lines, ""]
    return "\n".join(body)


def check(tree: Path, title: str, body: str) -> None:
    """Run Django's own check of pull requests on one.

    Args:
        tree: a tree of Django's main branch, whose check is run.
        title: the pull request's.
        body: likewise.

    Raises:
        KitError: it complains, or can't be run as this knows it.
    """
    env = os.environ | {"PYTHONPATH": str((tree / CHECK).parent.parent)}
    command = (sys.executable, "-c", RUN_CHECK, title, body)
    result = processes.capture(command, env=env)
    if result.returncode:
        raise KitError(f"Django's {CHECK} can't be run:\n{result.stderr}")
    if complaints := result.stdout.strip():
        titles = re.findall(r"<strong>\W*(.+?)</strong>", complaints)
        raise KitError(f"{CHECK} complains: {'; '.join(titles) or complaints}.")
