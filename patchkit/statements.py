"""Does each statement of the series matter? Without it, some test has to fail.

A mutation test of what the series adds to Django's code: each statement is deleted by
itself, each condition made always and never true, and each operand of one dropped.
"""

import ast
import copy
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from unidiff import PatchedFile, PatchSet

from patchkit import KitError, processes, say, series, suite
from patchkit.fork import BASE_BRANCH, BRANCH, Fork
from patchkit.git import git

# A test that waits for what doesn't happen any more fails too. In seconds.
TIMEOUT = 60
# In patches/: what no test can notice, with the reason.
EQUIVALENTS = "equivalents.toml"
# Of code in the output, in characters.
LONG = 120
# What has a name of its own in a qualified one.
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# What a condition is a part of.
TESTS = ast.BoolOp | ast.IfExp | ast.If | ast.While | ast.comprehension
# Fields of nodes whose elements are dropped one by one, and how many have to stay.
LISTS = {"elts": 1, "names": 1, "items": 1, "targets": 1, "decorator_list": 0, "ifs": 0}
# Of sitecustomize.py: it has Python import other sources than those of the files.
HOOK = """
from importlib.machinery import SourceFileLoader

SOURCES = {}

def get_code(self, name, get_code=SourceFileLoader.get_code):
    if self.path not in SOURCES:
        return get_code(self, name)
    return compile(SOURCES[self.path], self.path, "exec", dont_inherit=True)

SourceFileLoader.get_code = get_code
"""

type Variant = tuple[ast.AST, ast.AST, str]


class Mutant(NamedTuple):
    """One of Django's modules with one change.

    The first three tell which one it is, also when lines move.

    Attributes:
        path: the file, relative to the tree.
        scope: the qualified name of the function or class; empty outside of any.
        change: the code and what is done to it.
        line: the number of the first line of the code that is changed.
        source: the module.
    """

    path: str
    scope: str
    change: str
    line: int
    source: str


def _edit(node: ast.AST, **fields: object) -> ast.AST:
    return type(node)(**vars(node) | fields)


def _decided(test: ast.expr, value: bool) -> ast.expr:
    """Evaluate a condition, since names may be assigned in it, and ignore it."""
    return ast.BoolOp(ast.Or() if value else ast.And(), [test, ast.Constant(value)])


def _variants(node: ast.AST, parent: ast.AST, new: set[ast.AST]) -> Iterator[Variant]:
    """Yield what to put in the place of what, and the change in words."""
    for field, least in LISTS.items():
        nodes: Sequence[ast.AST] = getattr(node, field, ())
        # Taken apart below, with the names.
        unpacked = isinstance(node, ast.Tuple) and isinstance(parent, ast.Assign)
        for each in nodes if len(nodes) > least and not unpacked else ():
            if getattr(each, "context_expr", each) in new:
                rest = [other for other in nodes if other is not each]
                yield node, _edit(node, **{field: rest}), f"without {_code(each)}"
    match node:
        case ast.BoolOp(op=op, values=values):
            neutral = isinstance(op, ast.And)
            for each in values:
                if each in new:
                    rest = [_decided(v, neutral) if v is each else v for v in values]
                    yield node, _edit(node, values=rest), f"without {_code(each)}"
        case _ if node not in new:
            pass
        case ast.IfExp(test=test) | ast.If(test=test) | ast.While(test=test):
            for always, connective in ((True, ast.And), (False, ast.Or)):
                # Not what an operand less tests better, nor where a condition of
                # Django's own got an operand.
                if not isinstance(test, ast.BoolOp) or (
                    new.issuperset(test.values) and not isinstance(test.op, connective)
                ):
                    yield test, _decided(test, always), f"always {always}"
        case ast.Compare() | ast.UnaryOp(op=ast.Not()) if not isinstance(parent, TESTS):
            yield node, ast.UnaryOp(ast.Not(), node), "negated"
        case ast.With() | ast.AsyncWith():
            yield node, ast.If(ast.Constant(True), node.body, []), "only what is in it"
        case ast.Return(value=value) if value and ast.unparse(value) != "None":
            yield node, _edit(node, value=None), "nothing returned"
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
            for n, name in enumerate(names):
                left, right = (ast.Tuple(e[:n] + e[n + 1 :]) for e in (names, values))
                less = _edit(node, targets=[left], value=right)
                yield node, less, f"without {_code(name)}"
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


def mutate(file: PatchedFile, old: str, new: str) -> Iterator[Mutant]:
    """Make the mutants of one of Django's modules.

    Args:
        file: the lines that the series removes and adds.
        old: the module without the series; empty if there was none.
        new: the module with it.

    Yields:
        The mutants, each with one change to code on the added lines. Code that is
        on the removed ones as well, as when it's indented, is left alone.
    """

    def line(node: ast.AST) -> int:
        return getattr(node, "lineno", 0)

    changed = [each for hunk in file for each in hunk]
    removed = {each.source_line_no for each in changed if each.is_removed}
    added = {each.target_line_no for each in changed if each.is_added}
    moved = {
        ast.dump(node)
        for node in ast.walk(ast.parse(old))
        # Names alone are no code that has moved.
        if line(node) in removed and not isinstance(node, ast.Name | ast.Constant)
    }
    module = ast.parse(new)
    nodes = [*_walk(module)]
    is_new = {n for n, *_ in nodes if line(n) in added and ast.dump(n) not in moved}
    seen: Counter[tuple[str, str]] = Counter()
    for node, parent, scope in nodes:
        for target, replacement, what in _variants(node, parent, is_new):
            change = f"{_code(target)}: {what}"
            seen[scope, change] += 1
            if seen[scope, change] > 1:
                change += f" ({seen[scope, change]})"
            mutated = copy.deepcopy(module, {id(target): replacement})
            source = ast.unparse(ast.fix_missing_locations(mutated))
            # What has no line itself is in what has.
            yield Mutant(file.path, scope, change, line(target) or line(parent), source)


def _mutants(fork: Fork) -> Iterator[Mutant]:
    arguments = ("diff", "--unified=0", f"{BASE_BRANCH}..{BRANCH}", "--", "django/*.py")
    for file in PatchSet(git(fork.django, *arguments) + "\n"):
        old = "" if file.is_added_file else git(fork.base, "show", f"HEAD:{file.path}")
        new = (fork.django / file.path).read_text(encoding="utf-8")
        yield from mutate(file, old, new)


def _equivalents(fork: Fork) -> dict[tuple[str, str, str], str]:
    """Return what no test can notice, with the reasons."""
    file = fork.patches_dir / EQUIVALENTS
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    entries = tomllib.loads(text).get("equivalent", ())
    return {(e["path"], e["scope"], e["change"]): e["reason"] for e in entries}


def _failure(
    fork: Fork, modules: Sequence[str], cache: str, sources: Mapping[Path, str]
) -> str:
    """Run tests with other sources in the place of some of Django's files.

    Args:
        modules: those of the tests.
        cache: a directory for compiled modules, which take as long as the tests.
        sources: by the files.

    Returns:
        The first test that fails, or "".
    """
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        hook = HOOK.replace("{}", repr({str(p): text for p, text in sources.items()}))
        (Path(name) / "sitecustomize.py").write_text(hook, encoding="utf-8")
        env = suite.environment(fork, "django", "context", os.environ)
        env["PYTHONPATH"] = os.pathsep.join((name, env["PYTHONPATH"]))
        env |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": cache}
        options = ("--settings=test_sqlite", "--parallel=1", "--failfast")
        try:
            result = processes.capture(
                [sys.executable, "runtests.py", *options, *modules],
                cwd=fork.django / "tests",
                env=env,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return "a test hangs"
    if not result.returncode:
        return ""
    first = re.search(r"^(?:ERROR|FAIL): (\w+)", result.stderr, re.MULTILINE)
    return first[1] if first else result.stderr.strip().splitlines()[-1]


def check(fork: Fork, paths: Sequence[str] = ()) -> bool:
    """Change each statement in Django's code by itself and run the series' tests.

    Args:
        fork: the repository, with a checkout.
        paths: which of Django's files to change, relative to the tree; all that the
            series changes by default.

    Returns:
        Whether a test fails with each of the changes, but for those that
        patches/equivalents.toml says no test can notice: with these none fails.

    Raises:
        KitError: the tests fail without a change, or that file has an entry for a
            change that isn't among them.
    """
    equivalents = _equivalents(fork)
    mutants = [*_mutants(fork)]
    for key in equivalents.keys() - {mutant[:3] for mutant in mutants}:
        raise KitError(
            f"patches/{EQUIVALENTS} has an entry for what the series doesn't have: "
            f"{', '.join(key)}"
        )
    mutants = [mutant for mutant in mutants if not paths or mutant.path in paths]
    modules = series.modules(fork.patches())
    say(f"Running {' '.join(modules)} on SQLite, for {len(mutants)} changes.")
    noticed = 0
    problems = []
    with (
        tempfile.TemporaryDirectory(prefix="ticket31997-") as cache,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        run = partial(_failure, fork, modules, cache)
        # What the mutants have in common: no comments.
        files = {fork.django / mutant.path for mutant in mutants}
        plain = {file: ast.unparse(ast.parse(file.read_text())) for file in files}
        if failure := run(plain):
            raise KitError(f"The tests of the series fail as they are: {failure}.")
        failures = pool.map(run, ({fork.django / m.path: m.source} for m in mutants))
        for number, (path, scope, change, line, _) in enumerate(mutants, 1):
            failure, reason = next(failures), equivalents.get((path, scope, change))
            outcome = failure or reason or "NO TEST NOTICES"
            say(f"{number}/{len(mutants)} {path}:{line}: {change}: {outcome}")
            noticed += bool(failure)
            if bool(failure) == bool(reason):
                wrong = f"{failure or 'no test'} notices: patches/{EQUIVALENTS}"
                wrong += " says none can" if reason else " says nothing of it"
                problems.append(f"{path}:{line}: {scope}: {change}: {wrong}")
    say("\n".join([f"{noticed} of {len(mutants)} changes turn a test red.", *problems]))
    return not problems
