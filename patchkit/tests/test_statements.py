"""Changing each statement: which changes there are, and that tests have to notice."""

import ast

import pytest
from unidiff import PatchedFile, PatchSet

from patchkit import KitError, checkout, statements
from patchkit.fork import Fork
from patchkit.series import export
from patchkit.tests.conftest import commit, commit_base

# Of one of Django's modules.
DIFF = """\
 import os
-from sys import argv
+import sys
+from sys import argv, path
 __all__ = [
     "one",
+    "two",
 ]
 def one(a, b):
-    if a[0]:
-        print(a)
+    if a[0] and b > 1:
+        with a:
+            print(a)
+@cache
+def two(a, b):
+    '''Say two.'''
+    # Two.
+    while (c := a) or b:
+        c = a == b
+        a.c = c.a = 2
+        a, b = b, a
+        del a[0], b[0]
+    with a, b:
+        yield (d for d in a if not d)
+    raise ValueError(not a) if a else b
+    return None
+    return [a, 3]
"""
CHANGES = {
    ("", "`import sys`: deleted"),
    ("", "`from sys import argv, path`: deleted"),
    ("", "`from sys import argv, path`: without `path`"),
    ("", "`['one', 'two']`: without `'two'`"),
    ("one", "`a[0] and b > 1`: without `b > 1`"),
    ("one", "`with a:`: only what is in it"),
    ("", "`def two(a, b):`: deleted"),
    ("", "`def two(a, b):`: without `cache`"),
    ("two", "`(c := a) or b`: always True"),
    ("two", "`(c := a) or b`: without `(c := a)`"),
    ("two", "`(c := a) or b`: without `b`"),
    ("two", "`c = a == b`: deleted"),
    ("two", "`a == b`: negated"),
    ("two", "`a.c = c.a = 2`: without `a.c`"),
    ("two", "`a.c = c.a = 2`: without `c.a`"),
    ("two", "`a.c = c.a = 2`: deleted"),
    ("two", "`a, b = (b, a)`: without `a`"),
    ("two", "`a, b = (b, a)`: without `b`"),
    ("two", "`del a[0], b[0]`: without `a[0]`"),
    ("two", "`del a[0], b[0]`: without `b[0]`"),
    ("two", "`del a[0], b[0]`: deleted"),
    ("two", "`with a, b:`: only what is in it"),
    ("two", "`with a, b:`: without `a`"),
    ("two", "`with a, b:`: without `b`"),
    ("two", "`yield (d for d in a if not d)`: deleted"),
    ("two", "`for d in a if not d`: without `not d`"),
    ("two", "`raise ValueError(not a) if a else b`: deleted"),
    ("two", "`a`: always True"),
    ("two", "`a`: always False"),
    ("two", "`not a`: negated"),
    ("two", "`return None`: deleted"),
    ("two", "`return [a, 3]`: nothing returned"),
    ("two", "`[a, 3]`: without `a`"),
    ("two", "`[a, 3]`: without `3`"),
}


def patched(diff: str) -> tuple[PatchedFile, str, str]:
    """Return what a diff says of a module, the module without and with it."""
    lines = diff.splitlines()
    old, new = ([line[1:] for line in lines if line[0] in f" {mark}"] for mark in "-+")
    head = f"--- a/a.py\n+++ b/a.py\n@@ -1,{len(old)} +1,{len(new)} @@\n"
    return PatchSet(head + diff)[0], "\n".join(old), "\n".join(new)


def test_changes() -> None:
    file, old, new = patched(DIFF)
    mutants = [*statements.mutate(file, old, new)]
    assert {(mutant.scope, mutant.change) for mutant in mutants} == CHANGES
    assert len(mutants) == len(CHANGES)
    assert {mutant.path for mutant in mutants} == {"a.py"}
    sources = {ast.unparse(ast.parse(m.source)) for m in mutants}
    assert len(sources) == len(CHANGES)
    assert ast.unparse(ast.parse(new)) not in sources


def test_the_same_change_twice() -> None:
    diff = " def one():\n     pass\n+    one()\n+    one()\n"
    mutants = statements.mutate(*patched(diff))
    changes = ["`one()`: deleted", "`one()`: deleted (2)"]
    assert [mutant.change for mutant in mutants] == changes


MODULE = "def grade(points):\n    return 1\n"
GRADED = """\
def grade(points):
    if points > 10 and points % 2:
        # Rare.
        return 3
    return 2
"""
RUNTESTS = """\
import sys, unittest
words = [word for word in sys.argv[1:] if not word.startswith("--")]
unittest.main(module=None, argv=["", *words])
"""
TESTS = """\
import threading, unittest
from django.grades import grade

class Tests(unittest.TestCase):
    def test_grades(self):
        self.assertEqual([grade(11), grade({0})], [3, 2])

    def test_thread(self):
        grades = []
        thread = threading.Thread(target=lambda: grades.append(grade(12)))
        thread.start()
        thread.join(timeout=60)
        self.assertEqual(grades, [2])
"""
EQUIVALENT = """\
[[equivalent]]
path = "django/grades.py"
scope = "grade"
change = "`points > 10 and points % 2`: without `{}`"
reason = "The reason."
"""


def make(fork: Fork, points: int) -> None:
    """Make a series of five changes, and a test that asks for the grade of points."""
    checkout.make(fork)
    commit_base(fork, {"django/grades.py": MODULE, "tests/runtests.py": RUNTESTS})
    files = {"django/grades.py": GRADED, "tests/polls/tests.py": TESTS.format(points)}
    commit(fork.django, "Changed the grades.", files)
    export(fork)


def test_all_are_noticed(fork: Fork, capsys: pytest.CaptureFixture[str]) -> None:
    make(fork, 1)
    assert statements.check(fork)
    lines = capsys.readouterr().out.splitlines()
    assert "1/5 django/grades.py:2: `points > 10 and points % 2`" in lines[-6]
    assert [line.rpartition(": ")[2] for line in lines[-6:-1]] == [
        *("test_grades", "test_grades", "test_thread", "test_grades", "test_grades")
    ]
    assert lines[-1] == "5 of 5 changes turn a test red."


@pytest.mark.parametrize(
    ("equivalents", "problems"),
    [
        ([], ["no test notices: patches/equivalents.toml says nothing"]),
        (["points > 10"], []),
        (["points > 10", "points % 2"], ["test_grades notices: patches/equivalents"]),
    ],
)
def test_one_is_not_noticed(
    fork: Fork,
    capsys: pytest.CaptureFixture[str],
    equivalents: list[str],
    problems: list[str],
) -> None:
    make(fork, 12)
    text = "".join(map(EQUIVALENT.format, equivalents))
    (fork.patches_dir / "equivalents.toml").write_text(text or "equivalent = []")
    passed = statements.check(fork, ["django/grades.py"])
    output = capsys.readouterr().out
    *_, table = output.partition("\n4 of 5 changes turn a test red.\n")
    rows = [line for line in table.splitlines() if "django/grades.py:2" in line]
    assert all(problem in row for problem, row in zip(problems, rows, strict=True))
    assert passed is not bool(problems)
    assert output.count("The reason.") == ("points > 10" in equivalents)


def test_an_entry_for_nothing(fork: Fork) -> None:
    make(fork, 1)
    text = EQUIVALENT.format("points > 11")
    (fork.patches_dir / "equivalents.toml").write_text(text)
    message = (
        "has an entry for what the series doesn't have: django/grades.py, grade, `p"
    )
    with pytest.raises(KitError, match=message):
        statements.check(fork)


def test_tests_that_fail_anyway(fork: Fork) -> None:
    make(fork, 11)
    with pytest.raises(KitError, match="fail as they are: test_grades"):
        statements.check(fork)


def test_a_test_that_hangs(fork: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "TIMEOUT", 0)
    make(fork, 1)
    with pytest.raises(KitError, match="fail as they are: a test hangs"):
        statements.check(fork)
