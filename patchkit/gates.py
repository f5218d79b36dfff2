"""What Django's committers want of commit messages.

The rules are those of docs/internals/contributing/committing-code.txt, as of
November 2026.
"""

import re

TICKET = "31997"
# git's own advice, which Django's guidelines take over. In characters.
SUBJECT_WIDTH = BODY_WIDTH = 72


def message_problems(message: str, ticket: str = TICKET) -> list[str]:
    """Hold a commit's message against Django's rules.

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
