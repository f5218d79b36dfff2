"""Django's documentation of both trees, built and checked as Django does it.

Both are built in one place, from copies: one of the checks rewrites what it finds
wrong, and Sphinx builds the base's pages anew only where they differ from the patched
tree's. What was found is kept until something that it was made from changes.
"""

import hashlib
import json
import os
import pydoc
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from patchkit import KitError, installed, relative, say
from patchkit.fork import Fork

TREES = ("base", "django")
# Targets of Django's docs/Makefile.
CHECKS = ("html", "spelling", "lint", "black")
# As `make` calls it.
SPHINX = f"{sys.executable} -m sphinx"
# A build that broke off is shown by this many lines of its output.
TAIL = 30
# Sphinx: path:line: WARNING: message, at times behind a line that isn't finished.
# Its spell checker: WARNING: path:line: message. The others: path:line: message.
PROBLEM = re.compile(
    r"^(?:.*\.\.\. )?(?:WARNING: )?"
    r"(?P<file>\S+?\.(?:txt|py)):(?P<line>\d+)?[: ]*(?P<message>.+)$"
)
SPELLING = "Spell check: "
SPHINX_LEVEL = re.compile("(WARNING|ERROR|CRITICAL): ")
UNRESOLVED = re.compile(r"py:\w+ reference target not found: (?P<name>[\w.]+) \[")
NO_INVENTORY = "failed to reach any of the inventories"

# The contents of the files in a tree's docs/, by their paths in it.
type Files = dict[Path, bytes]


@dataclass(frozen=True, order=True)
class Problem:
    """Something that a check complains of.

    Attributes:
        check: one of CHECKS.
        file: relative to docs/.
        message: what is wrong, without the number of the line.
        line: the number of the line, which isn't compared; 0 if unknown.
    """

    check: str
    file: str
    message: str
    line: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two problems the same one in two trees."""
        return self.check, self.file, self.message

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        return f"{self.check}: docs/{self.file}{line}: {self.message}"


def output(fork: Fork, name: str) -> Path:
    """Return a directory of what is built.

    Args:
        name: "base" or "django", which have the pages in html/, "review" ...
    """
    return fork.root / "docs_changes" / "_build" / name


def spelling_is_possible() -> bool:
    """Return whether there is a spell checker, and its English dictionary."""
    code = "import enchant; enchant.Dict('en_US')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True)
    return not result.returncode


def _read(docs: Path) -> Files:
    files = (path.relative_to(docs) for path in docs.rglob("*") if path.is_file())
    return {f: (docs / f).read_bytes() for f in files if f.parts[0] != "_build"}


def parse(check: str, text: str, source: Path) -> list[Problem]:
    """Find the problems in a check's output.

    Args:
        check: one of CHECKS.
        text: the output.
        source: the docs directory that was checked.

    Returns:
        The problems in the order of the output.
    """
    found = []
    offline = NO_INVENTORY in text
    for line in text.splitlines():
        match = PROBLEM.match(line)
        if not match:
            continue
        message = match["message"]
        # The spelling builder says again what the HTML builder has said.
        if check == "spelling" and not message.startswith(SPELLING):
            continue
        if check == "html" and not SPHINX_LEVEL.match(message):
            continue
        unresolved = UNRESOLVED.search(message)
        if offline and unresolved and pydoc.locate(unresolved["name"]):
            # It's in Python, whose inventory can't be had without a network.
            continue
        file = match["file"].removeprefix(f"{source}/").removeprefix("./")
        found.append(Problem(check, file, message.strip(), int(match["line"] or 0)))
    return found


def _make(place: Path, check: str) -> list[Problem]:
    """Run one of the checks on the copy in a place."""
    source = place / "docs"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {k: v for k, v in os.environ.items() if "COLOR" not in k}
    result = subprocess.run(
        [
            *("make", "--no-print-directory", check, f"BUILDDIR={place}"),
            *(f"SPHINXBUILD={SPHINX}", f"PYTHON={sys.executable}"),
            # Colors would be parts of the names of files, wherever tox or CI
            # asks for them.
            "SPHINXOPTS=--no-color",
        ],
        cwd=source,
        # Not in the user's language; and for the words of one line in one line.
        env=env | {"PATH": path, "LC_ALL": "C.UTF-8", "COLUMNS": "1000"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    problems = parse(check, result.stdout, source)
    if result.returncode and not problems:
        tail = "\n".join(result.stdout.splitlines()[-TAIL:])
        raise KitError(f"`make {check}` of the documentation broke off:\n{tail}")
    return problems


def _copy(fork: Fork, tree: str, files: Files, place: Path) -> None:
    """Put a tree's docs/ in the place of the other one's, where they differ."""
    docs = place / "docs"
    for path in _read(docs).keys() - files:
        (docs / path).unlink()
    for path, content in files.items():
        target = docs / path
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    # conf.py asks Django for its version, and links to its source.
    for name in ("django", "tests"):
        (place / name).unlink(missing_ok=True)
        (place / name).symlink_to(fork.tree(tree) / name)


def _build(
    fork: Fork, files: dict[str, Files], checks: Sequence[str]
) -> dict[str, list[Problem]]:
    """Build and check both trees' documentation; return the problems of each.

    The words of a page are its own affair: the spelling of those that are alike in
    both trees isn't checked, if all that differs are pages, and not the list of words.
    Of the base's pages those are built that differ, and those that have a problem in
    the patched tree; a check that found none there isn't made.
    """
    whole, words = output(fork, "work"), output(fork, "words")
    shutil.rmtree(whole.parent, ignore_errors=True)
    paths = files["base"].keys() | files["django"].keys()
    pages = {path for path in paths if path.suffix == ".txt"}
    differing = {p for p in paths if len({f.get(p) for f in files.values()}) > 1}
    spelled = paths
    if differing <= pages:
        # Sphinx begins with that page.
        spelled = (paths - pages) | differing | {Path("contents.txt")}
    found: dict[str, list[Problem]] = {}
    for tree in reversed(TREES):
        _copy(fork, tree, files[tree], whole)
        less = {path: files[tree][path] for path in spelled & files[tree].keys()}
        _copy(fork, tree, less, words)
        for problem in found.get("django", ()):
            if (file := whole / "docs" / problem.file).exists():
                file.touch()
        if found:
            needed = {"html", *(problem.check for problem in found["django"])}
            checks = [check for check in checks if check in needed]
        found[tree] = []
        for check in checks:
            say(f"   {relative(fork.tree(tree), fork.root)}: make {check}")
            found[tree] += _make(words if check == "spelling" else whole, check)
        shutil.copytree(whole / "html", output(fork, tree) / "html")
    for place in (whole, words):
        shutil.rmtree(place)
    return found


def new_problems(base: list[Problem], django: list[Problem]) -> list[Problem]:
    """Tell which problems the base lacks.

    Args:
        base: those of the base.
        django: those of the patched tree.

    Returns:
        Those of the patched tree of which there are more than in the base.
    """
    left = Counter(problem.key for problem in base)
    more = Counter(problem.key for problem in django) - left
    return sorted(problem for problem in django if more[problem.key])


def build_both(fork: Fork) -> bool:
    """Build both trees' documentation and compare what the checks say.

    Args:
        fork: the repository, with a checkout.

    Returns:
        Whether the patched tree has no problem that the base lacks.

    Raises:
        KitError: a check broke off.
    """
    checks: tuple[str, ...] = CHECKS
    skipped = ""
    if not spelling_is_possible():
        skipped = " The spelling is NOT CHECKED: apt install enchant-2 aspell-en."
        say(skipped.strip())
        checks = tuple(check for check in CHECKS if check != "spelling")
    files = {tree: _read(fork.tree(tree) / "docs") for tree in TREES}
    contents = repr([checks, installed(), [sorted(f.items()) for f in files.values()]])
    digest = hashlib.sha256(contents.encode()).hexdigest()
    kept = output(fork, "problems.json")
    record = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    if record.get("digest") != digest:
        say("Building the documentation: some minutes.")
        built = _build(fork, files, checks)
        record = {tree: [asdict(p) for p in found] for tree, found in built.items()}
        record["digest"] = digest
        kept.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    base, django = ([Problem(**values) for values in record[t]] for t in TREES)
    news = new_problems(base, django)
    for problem in news:
        say(f"{problem}")
    say(
        f"{', '.join(checks)}: the patched tree has {len(django)} problems, of which "
        f"the base lacks {len(news)}.{skipped}"
    )
    return not news
