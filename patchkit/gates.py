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
    problems = []
    if not re.match(rf"(?:Refs|Fixed) #{ticket} -- [A-Z]\w*ed .+\.$", subject):
        problems.append(
            f"the subject isn't 'Refs #{ticket} -- <Past tense> ... .' or 'Fixed ...'"
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
