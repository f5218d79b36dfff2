"""What Django's pull-request checks and its committers want of text.

The rules are those of docs/internals/contributing/committing-code.txt, and of
scripts/pr_quality/check_pr.py and .github/workflows/ in Django's repository, as
of November 2026.
"""

import re
from dataclasses import dataclass
from typing import Self

from patchkit import KitError

TICKET = "31997"
SUBJECT = re.compile(rf"(?:Refs|Fixed) #{TICKET} -- [A-Z]\w*ed .+\.$")
# git's own advice, which Django's guidelines take over. In characters.
SUBJECT_WIDTH = BODY_WIDTH = 72
# What the pull-request check calls a description.
MIN_WORDS = 5
TITLE_WIDTH = 100

# Sections of Django's template for pull requests.
TICKET_SECTION = "Trac ticket number"
DESCRIPTION_SECTION = "Branch description"
DISCLOSURE_SECTION = "AI Assistance Disclosure"
CHECKLIST_SECTION = "Checklist"
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
BOX = re.compile(r"^- \[[ x]\] ", re.MULTILINE)


def message_problems(message: str) -> list[str]:
    """Hold a commit's message against Django's rules.

    Args:
        message: the whole message.

    Returns:
        A line for each rule that it breaks; empty if none.
    """
    subject, *rest = message.rstrip("\n").split("\n")
    problems = []
    if not SUBJECT.match(subject):
        problems.append(
            f"the subject isn't 'Refs #{TICKET} -- <Past tense> ... .' or 'Fixed ...'"
        )
    if len(subject) > SUBJECT_WIDTH:
        problems.append(f"the subject has {len(subject)} characters")
    if rest and rest[0]:
        problems.append("there is no empty line below the subject")
    if not "".join(rest).strip():
        problems.append("it doesn't say why")
    for number, line in enumerate(rest, 2):
        if len(line) > BODY_WIDTH:
            problems.append(f"line {number} has {len(line)} characters")
        if line != line.rstrip():
            problems.append(f"line {number} has space at its end")
    return problems


@dataclass(frozen=True)
class Letter:
    """The cover letter: what patches/cover-letter.md says.

    Attributes:
        title: of the pull request.
        description: Markdown, for the template's section of that name.
    """

    title: str
    description: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the file.

        Args:
            text: a heading of the first level, and what is below it.

        Returns:
            The letter.

        Raises:
            KitError: there is no such heading.
        """
        match = re.match(r"# ([^\n]+)\n\n(.+)", text, re.DOTALL)
        if not match:
            raise KitError("patches/cover-letter.md doesn't begin with '# <title>'.")
        return cls(match[1].strip(), match[2].strip() + "\n")


def sections(body: str) -> dict[str, str]:
    """Split a pull request's body, or the template of one.

    Args:
        body: Markdown with headings of the fourth level.

    Returns:
        The text below each heading by the heading's words.
    """
    parts = re.split(r"^#### (.+)\n", body.replace("\r\n", "\n"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _section(body: str, name: str) -> tuple[str, str]:
    """Return a section's whole heading and its text."""
    for heading, text in sections(body).items():
        if heading.startswith(name):
            return heading, text
    raise KitError(
        f"Django's template for pull requests has no section {name!r} any more: "
        f"write the pull request by hand, with patches/cover-letter.md."
    )


def fill(template: str, letter: Letter, disclosure: str) -> str:
    """Fill Django's template for pull requests in.

    Args:
        template: Django's .github/pull_request_template.md.
        letter: the cover letter.
        disclosure: "none" if no AI tools were used, otherwise which ones and
            for what, in five words or more.

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
    heading, text = _section(template, TICKET_SECTION)
    changed = {heading: re.sub(r"ticket-X+", f"ticket-{TICKET}", COMMENT.sub("", text))}
    heading, _ = _section(template, DESCRIPTION_SECTION)
    changed[heading] = letter.description
    heading, text = _section(template, DISCLOSURE_SECTION)
    wanted = "No AI tools were used" if none else "If AI tools were used"
    boxes = [line for line in text.splitlines() if BOX.match(line)]
    if len(boxes) != 2 or sum(wanted in line for line in boxes) != 1:
        raise KitError("The disclosure in Django's template isn't as it was.")
    lines = [
        line.replace("- [ ]", "- [x]") if wanted in line else line for line in boxes
    ]
    changed[heading] = "\n".join(lines + [""] * (not none) + [disclosure] * (not none))
    heading, text = _section(template, CHECKLIST_SECTION)
    changed[heading] = _tick(COMMENT.sub("", text))
    parts = [
        f"#### {heading}\n{changed.get(heading, text).strip()}\n"
        for heading, text in sections(template).items()
    ]
    return "\n".join(parts)


# Those that only the submitter can do, or that don't apply.
UNTICKED = ("Has patch", "screenshots")


def _tick(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(
        line if any(word in line for word in UNTICKED) else BOX.sub("- [x] ", line)
        for line in lines
    )


def body_problems(title: str, body: str) -> list[str]:
    """Hold a pull request against what Django's checks look for.

    Args:
        title: the pull request's.
        body: likewise.

    Returns:
        A line for each check that would fail; empty if none. The state of the
        ticket is not looked up.
    """
    problems = []
    if not re.search(rf"#{TICKET}\b", title):
        problems.append("the title doesn't name the ticket")
    if len(title) > TITLE_WIDTH:
        problems.append("the title is too long")
    found = {name: COMMENT.sub("", text) for name, text in sections(body).items()}

    def text_of(name: str) -> str:
        return next((t for heading, t in found.items() if heading.startswith(name)), "")

    if not re.search(rf"\bticket-{TICKET}\b", text_of(TICKET_SECTION)):
        problems.append("the ticket isn't linked")
    if len(text_of(DESCRIPTION_SECTION).split()) < MIN_WORDS:
        problems.append("the branch isn't described")
    disclosure = text_of(DISCLOSURE_SECTION)
    ticked = re.findall(r"^- \[x\] (.+)$", disclosure, re.MULTILINE)
    if len(ticked) != 1:
        problems.append("not one of the two AI disclosures is chosen")
    elif "If AI tools were used" in ticked[0]:
        words = " ".join(
            line for line in disclosure.splitlines() if not line.startswith("- [")
        )
        if len(words.split()) < MIN_WORDS:
            problems.append("it isn't said which AI tools were used")
    checklist = re.findall(r"^- \[(.)\]", text_of(CHECKLIST_SECTION), re.MULTILINE)
    if len(checklist) < 5 or set(checklist[:5]) != {"x"}:
        problems.append("the first five points of the checklist aren't ticked")
    return problems
