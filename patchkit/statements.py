"""Does each statement of the series matter? Without it, some test has to fail.

A mutation test of what the series adds to Django's code: each statement is deleted by
itself, each condition made always and never true, and each operand of one dropped.
"""

import ast
import copy
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

from coverage import CoverageData
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from unidiff import PatchSet

from patchkit import KitError, relative, say, series, suite
from patchkit.fork import BASE_BRANCH, BRANCH, Fork
from patchkit.git import git
from patchkit.tables import WIDTH

# A test that waits for what doesn't happen any more fails too. In seconds.
TIMEOUT = 60
# In patches/: what no test can notice, with the reason.
EQUIVALENTS = "equivalents.toml"
# Of code in the output, in characters.
LONG = 120
# There is no option for the context.
COVERAGE = "[run]\ndynamic_context = test_function\nsource = {}\n"

# What has a name of its own in a qualified one.
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

type Variant = tuple[ast.AST, ast.AST, str]


@dataclass(frozen=True, order=True)
class Key:
    """What identifies a mutant while lines move.

    Attributes:
        path: the file, relative to the tree.
        scope: the qualified name of the function or class; empty outside of any.
        change: the code and what is done to it.
    """

    path: str
    scope: str
    change: str


@dataclass(frozen=True)
class Mutant:
    """One of Django's modules with one change.

    Attributes:
        key: what it is.
        lines: the numbers of the lines of the code that is changed.
        source: the module.
    """

    key: Key
    lines: range
    source: str


def _edit(node: ast.AST, **fields: object) -> ast.AST:
    result = copy.copy(node)
    for name, value in fields.items():
        setattr(result, name, value)
    return result


def _decided(test: ast.expr, value: bool) -> ast.expr:
    """Evaluate a condition, since names may be assigned in it, and ignore it."""
    return ast.BoolOp(ast.Or() if value else ast.And(), [test, ast.Constant(value)])


def _variants(node: ast.AST, parent: ast.AST, new: set[ast.AST]) -> Iterator[Variant]:
    """Yield what to put in the place of what, and the change in words."""

    def drop(field: str, left: int = 1) -> Iterator[Variant]:
        nodes: list[ast.AST] = getattr(node, field)
        for each in nodes if len(nodes) > left else ():
            if getattr(each, "context_expr", each) in new:
                rest = [other for other in nodes if other is not each]
                yield node, _edit(node, **{field: rest}), f"without {_code(each)}"

    def decide(test: ast.expr) -> Iterator[Variant]:
        for value in (True, False):
            # Not what an operand less tests better, nor where a condition of Django's
            # own got an operand.
            connective = ast.And if value else ast.Or
            if not isinstance(test, ast.BoolOp) or (
                new.issuperset(test.values) and not isinstance(test.op, connective)
            ):
                yield test, _decided(test, value), f"always {value}"

    match node:
        case ast.BoolOp(op=op, values=values):
            neutral = isinstance(op, ast.And)
            for each in values:
                if each in new:
                    rest = [_decided(v, neutral) if v is each else v for v in values]
                    yield node, _edit(node, values=rest), f"without {_code(each)}"
        case ast.comprehension():
            yield from drop("ifs", 0)
        case ast.Tuple() if isinstance(parent, ast.Assign):
            # Taken apart below, with the names.
            pass
        case ast.List() | ast.Tuple():
            yield from drop("elts")
        case ast.Import(names=[_, _, *_]) | ast.ImportFrom(names=[_, _, *_]):
            yield from drop("names")
        case ast.With(items=[_, _, *_]) | ast.AsyncWith(items=[_, _, *_]):
            yield from drop("items")
        case _ if node not in new:
            pass
        case ast.IfExp() | ast.If() | ast.While():
            yield from decide(node.test)
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            conditions = ast.BoolOp | ast.IfExp | ast.If | ast.While | ast.comprehension
            if not isinstance(parent, conditions):
                yield node, ast.UnaryOp(ast.Not(), node), "negated"
        case ast.With() | ast.AsyncWith():
            yield node, ast.If(ast.Constant(True), node.body, []), "only what is in it"
        case ast.Return(value=value) if value and ast.unparse(value) != "None":
            yield node, _edit(node, value=None), "nothing returned"
        case ast.Assign(targets=[_, _, *_]) | ast.Delete(targets=[_, _, *_]):
            yield from drop("targets")
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
            pairs = [*zip(names, values, strict=True)]
            for pair in pairs:
                left, right = zip(*(p for p in pairs if p is not pair), strict=True)
                targets, value = [ast.Tuple([*left])], ast.Tuple([*right])
                less = _edit(node, targets=targets, value=value)
                yield node, less, f"without {_code(pair[0])}"
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node, ast.Pass(), "deleted"
            yield from drop("decorator_list", 0)
        case ast.Expr(value=ast.Constant()) | ast.Try() | ast.Pass():
            # A docstring; something that is changed inside; nothing to change.
            pass
        case ast.stmt():
            yield node, ast.Pass(), "deleted"


def _code(node: ast.AST) -> str:
    """Return the first line of what a node is in Python, as Markdown."""
    if isinstance(node, SCOPES):
        node = _edit(node, decorator_list=[])
    code = ast.unparse(node).strip().splitlines()[0]
    return f"`{code if len(code) <= LONG else code[:LONG] + '...'}`"


def _walk(node: ast.AST, scope: str = "") -> Iterator[tuple[ast.AST, ast.AST, str]]:
    """Yield the nodes inside another one, each with its parent and what it's in."""
    for child in ast.iter_child_nodes(node):
        yield child, node, scope
        inner = f"{scope}.{child.name}" if isinstance(child, SCOPES) else scope
        yield from _walk(child, inner.removeprefix("."))


def mutate(
    path: str,
    old: str,
    new: str,
    removed: Collection[int | None],
    added: Collection[int | None],
) -> Iterator[Mutant]:
    """Make the mutants of one of Django's modules.

    Args:
        path: the file, relative to the tree.
        old: the module without the series; empty if there was none.
        new: the module with it.
        removed: the numbers of the lines that the series removes from the old one.
        added: the numbers of the lines that it adds to the new one.

    Yields:
        The mutants, each with one change to code on the added lines. Code that is
        on the removed ones as well, as when it's indented, is left alone.
    """

    def line(node: ast.AST) -> int:
        return getattr(node, "lineno", 0)

    moved = {
        ast.dump(node)
        for node in ast.walk(ast.parse(old))
        # Names alone are no code that has moved.
        if line(node) in removed and not isinstance(node, ast.Name | ast.Constant)
    }
    module = ast.parse(new)
    nodes = [*_walk(module)]
    is_new = {n for n, *_ in nodes if line(n) in added and ast.dump(n) not in moved}
    seen: Counter[Key] = Counter()
    for node, parent, scope in nodes:
        for target, replacement, change in _variants(node, parent, is_new):
            # What has no line itself is in what has.
            place = target if line(target) else parent
            lines = range(line(place), getattr(place, "end_lineno", 0) + 1)
            key = Key(path, scope, f"{_code(target)}: {change}")
            seen[key] += 1
            if seen[key] > 1:
                key = Key(path, scope, f"{key.change} ({seen[key]})")
            changed = copy.deepcopy(module, {id(target): replacement})
            yield Mutant(key, lines, ast.unparse(ast.fix_missing_locations(changed)))


def _mutants(fork: Fork) -> list[Mutant]:
    arguments = ("diff", "--unified=0", f"{BASE_BRANCH}..{BRANCH}", "--", "django/*.py")
    diff = git(fork.django, *arguments) + "\n"
    mutants: list[Mutant] = []
    for file in PatchSet(diff):
        lines = [line for hunk in file for line in hunk]
        old = "" if file.is_added_file else git(fork.base, "show", f"HEAD:{file.path}")
        mutants += mutate(
            file.path,
            old,
            (fork.django / file.path).read_text(encoding="utf-8"),
            {line.source_line_no for line in lines if line.is_removed},
            {line.target_line_no for line in lines if line.is_added},
        )
    return mutants


def _equivalents(fork: Fork) -> dict[Key, str]:
    """Return what no test can notice, with the reasons."""
    file = fork.patches_dir / EQUIVALENTS
    if not file.exists():
        return {}
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["equivalent"]
    return {Key(e["path"], e["scope"], e["change"]): e["reason"] for e in entries}


class _Copy:
    """A copy of the patched tree, whose modules can be changed."""

    def __init__(self, fork: Fork, root: Path) -> None:
        self.fork = Fork(root)
        self.tests = self.fork.django / "tests"
        ignore = shutil.ignore_patterns(".git", "docs", "__pycache__", suite.PACKAGE)
        shutil.copytree(fork.django, self.fork.django, ignore=ignore, symlinks=True)
        self.env = suite.environment(self.fork, "django", "context", os.environ)
        # Compiling Django takes as long as the tests.
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)

    def failure(self, arguments: Sequence[str], *options: str) -> str:
        """Run tests; return the first that fails, or ""."""
        command = [sys.executable, *options, "runtests.py", "--settings=test_sqlite"]
        try:
            result = subprocess.run(
                [*command, "--parallel=1", "--failfast", *arguments],
                cwd=self.tests,
                env=self.env,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return "a test hangs"
        if not result.returncode:
            return ""
        first = re.search(r"^(?:ERROR|FAIL): (\w+)", result.stderr, re.MULTILINE)
        return first[1] if first else result.stderr.strip().splitlines()[-1]

    @contextmanager
    def changed(self, path: str, source: str) -> Iterator[None]:
        """Put another source in the place of a module's."""
        file = self.fork.django / path
        before = file.read_bytes()
        # Its time may be the same to a second, and its size as well.
        compiled = Path(cache_from_source(str(file)))
        compiled.unlink(missing_ok=True)
        file.write_text(source, encoding="utf-8")
        try:
            yield
        finally:
            file.write_bytes(before)
            compiled.unlink(missing_ok=True)


def _contexts(tree: _Copy, modules: list[str]) -> dict[str, dict[int, list[str]]]:
    """Return the names of the tests that execute each line, by file and number."""
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        config, file = Path(name) / "config", Path(name) / "data"
        config.write_text(COVERAGE.format(tree.fork.django / "django"))
        options = (f"--rcfile={config}", f"--data-file={file}")
        if failure := tree.failure(modules, "-m", "coverage", "run", *options):
            raise KitError(f"The tests of the series fail as they are: {failure}.")
        data = CoverageData(str(file))
        data.read()
        return {
            relative(Path(file), tree.fork.django): data.contexts_by_lineno(file)
            for file in data.measured_files()
        }


def _first_failure(
    mutant: Mutant, tree: _Copy, modules: list[str], contexts: dict[int, list[str]]
) -> str:
    """Return which test notices a mutant, or ""."""
    tests = {test for n in mutant.lines for test in contexts.get(n, ())} - {""}
    # A test may be inherited, so its class isn't known.
    names = sorted({test.rpartition(".")[2] for test in tests})
    labels = [m for m in modules if any(test.startswith(f"{m}.") for test in tests)]
    only = [word for name in names for word in ("-k", name)]
    with tree.changed(mutant.key.path, mutant.source):
        # The others may execute the code in a thread of their own.
        return (labels and tree.failure([*labels, *only])) or tree.failure(modules)


def check(fork: Fork, paths: Sequence[str] = (), jobs: int = 0) -> bool:
    """Change each statement in Django's code by itself and run the series' tests.

    Args:
        fork: the repository, with a checkout.
        paths: which of Django's files to change, relative to the tree; all that the
            series changes by default.
        jobs: how many runs at a time; as many as there are cores by default.

    Returns:
        Whether a test fails with each of the changes, but for those that
        patches/equivalents.toml says no test can notice: with these none fails.

    Raises:
        KitError: the tests fail without a change, or that file has an entry for a
            change that isn't among them.
    """
    equivalents = _equivalents(fork)
    mutants = _mutants(fork)
    for key in equivalents.keys() - {mutant.key for mutant in mutants}:
        raise KitError(
            f"patches/{EQUIVALENTS} has an entry for what the series doesn't have: "
            f"{key.path}, {key.scope}, {key.change}"
        )
    mutants = [mutant for mutant in mutants if not paths or mutant.key.path in paths]
    modules = series.modules(fork.patches())
    jobs = jobs or os.cpu_count() or 1
    with ExitStack() as stack:
        copies: queue.SimpleQueue[_Copy] = queue.SimpleQueue()
        for _ in range(jobs):
            name = tempfile.TemporaryDirectory(prefix="ticket31997-")
            copies.put(tree := _Copy(fork, Path(stack.enter_context(name))))
        say(f"Running {' '.join(modules)} on SQLite, for {len(mutants)} changes.")
        contexts = _contexts(tree, modules)
        with ExitStack() as changes:
            # What the mutants have in common: no comments.
            for path in {mutant.key.path for mutant in mutants}:
                source = (fork.django / path).read_text(encoding="utf-8")
                changes.enter_context(
                    tree.changed(path, ast.unparse(ast.parse(source)))
                )
            if failure := tree.failure(modules):
                raise KitError(f"The tests fail without Django's comments: {failure}.")

        def run(mutant: Mutant) -> str:
            tree = copies.get()
            try:
                by_line = contexts.get(mutant.key.path, {})
                return _first_failure(mutant, tree, modules, by_line)
            finally:
                copies.put(tree)

        failures = stack.enter_context(ThreadPoolExecutor(jobs)).map(run, mutants)
        problems = Table("statement", "in", "change", "problem", box=box.SIMPLE_HEAD)
        noticed = 0
        for number, (mutant, failure) in enumerate(
            zip(mutants, failures, strict=True), 1
        ):
            key, reason = mutant.key, equivalents.get(mutant.key)
            place = f"{key.path}:{mutant.lines[0]}"
            outcome = failure or reason or "NO TEST NOTICES"
            say(f"{number}/{len(mutants)} {place}: {key.change}: {outcome}")
            noticed += bool(failure)
            if failure and reason:
                problem = f"{failure} notices: patches/{EQUIVALENTS} says none can"
            elif not (failure or reason):
                problem = "no test notices"
            else:
                continue
            problems.add_row(*map(escape, (place, key.scope, key.change, problem)))
    say(f"{noticed} of {len(mutants)} changes turn a test red.")
    if problems.row_count:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(problems)
    return not problems.row_count
