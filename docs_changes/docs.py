"""Django's documentation of both trees, built and checked as Django does it.

Each tree is built in docs_changes/_build/<tree>, from a copy: one of the checks
rewrites what it finds wrong. What a tree's build found is kept until something
that it was made from changes.
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
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from patchkit import KitError, installed, relative, say
from patchkit.fork import Fork

TREES = ("base", "django")
# Targets of Django's docs/Makefile. "spelling" reuses what "html" has read.
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


def output(fork: Fork, tree: str) -> Path:
    """Return the directory that a tree's documentation is built in.

    Args:
        tree: "base" or "django".

    Returns:
        The directory: the pages are in html/ below it.
    """
    return fork.root / "docs_changes" / "_build" / tree


def spelling_is_possible() -> bool:
    """Return whether there is a spell checker, and its English dictionary."""
    code = "import enchant; enchant.Dict('en_US')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True)
    return not result.returncode


def _digest(tree: Path, checks: Iterable[str]) -> str:
    digest = hashlib.sha256()
    digest.update("\0".join([*checks, *installed()]).encode())
    docs = tree / "docs"
    files = (path for path in docs.rglob("*") if path.is_file())
    for path in sorted(f for f in files if "_build" not in f.parts[len(docs.parts) :]):
        digest.update(f"\0{path.relative_to(docs)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


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


def _make(source: Path, build: Path, check: str) -> list[Problem]:
    """Run one of the checks in a copy of docs/."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {k: v for k, v in os.environ.items() if "COLOR" not in k}
    result = subprocess.run(
        [
            *("make", "--no-print-directory", check, f"BUILDDIR={build}"),
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
    (build / f"{check}.log").write_text(result.stdout, encoding="utf-8")
    problems = parse(check, result.stdout, source)
    if result.returncode and not problems:
        tail = "\n".join(result.stdout.splitlines()[-TAIL:])
        raise KitError(f"`make {check}` of the documentation broke off:\n{tail}")
    return problems


def build(fork: Fork, tree: str, checks: Iterable[str] = CHECKS) -> list[Problem]:
    """Build a tree's documentation and run Django's checks on it.

    Args:
        fork: the repository, with a checkout.
        tree: "base" or "django".
        checks: which of CHECKS, in their order; "html" among them.

    Returns:
        What the checks complain of, in either tree.

    Raises:
        KitError: a check broke off.
    """
    directory = output(fork, tree)
    kept = directory / "problems.json"
    digest = _digest(fork.tree(tree), checks)
    if kept.exists():
        record = json.loads(kept.read_text(encoding="utf-8"))
        if record["digest"] == digest:
            return [Problem(**values) for values in record["problems"]]
    shutil.rmtree(directory, ignore_errors=True)
    source = directory / "source" / "docs"
    shutil.copytree(
        fork.tree(tree) / "docs", source, ignore=shutil.ignore_patterns("_build")
    )
    # conf.py asks Django for its version, and links to its source.
    for name in ("django", "tests"):
        (source.parent / name).symlink_to(fork.tree(tree) / name)
    problems = []
    for check in checks:
        say(f"   {relative(fork.tree(tree), fork.root)}: make {check}")
        problems += _make(source, directory, check)
    values = [asdict(problem) for problem in problems]
    text = json.dumps({"digest": digest, "problems": values}, indent=1)
    kept.write_text(text + "\n", encoding="utf-8")
    return problems


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
    say("Building the documentation, unless it is built: some minutes.")
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda tree: build(fork, tree, checks), TREES))
    news = new_problems(*found)
    for problem in news:
        say(f"{problem}")
    say(
        f"{', '.join(checks)}: the base has {len(found[0])} problems, the patched tree "
        f"{len(found[1])}, of which the base lacks {len(news)}.{skipped}"
    )
    return not news
