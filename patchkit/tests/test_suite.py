"""What runs inside the trees: the "thread" half of our tests is red on the base."""

import ast
import re
import subprocess
import sys

import pytest

from patchkit import ROOT, databases, processes, series, suite
from patchkit.fork import Fork
from tests_ticket31997.patience import PROGRAM_PATIENCE

HALF = 7


def runtests(database: str, tree: str, *arguments: str) -> tuple[int, str]:
    options = ("--optional", "--scope=context", f"--database={database}")
    command = ("runtests", *options, f"--tree={tree}", suite.PACKAGE, *arguments)
    result = subprocess.run(
        [sys.executable, "-m", "patchkit", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PROGRAM_PATIENCE,
    )
    if skipped := re.search(r"^Skipped: (.*)", result.stdout, re.MULTILINE):
        pytest.skip(skipped[1])
    return result.returncode, result.stdout


@pytest.mark.parametrize("database", databases.DATABASES)
def test_the_thread_half_fails_on_the_base(database: str) -> None:
    status, output = runtests(database, "base", "--tag=thread")
    assert status == 1
    assert f"Ran {HALF} tests" in output
    assert f"FAILED (failures={HALF})" in output
    failed = re.findall(r"^FAIL: (\w+) \(.*ThreadScopeTests", output, re.MULTILINE)
    assert len(set(failed)) == HALF


@pytest.mark.parametrize("database", databases.DATABASES)
def test_the_rest_passes_on_the_base(database: str) -> None:
    status, output = runtests(database, "base", "--exclude-tag=thread")
    assert status == 0, output
    assert re.search(r"^Ran [1-9]\d* tests", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", False),
        ("transactions", True),
        ("-k test_foreign_code", False),
        ("-k test_foreign_code transactions", True),
        ("--parallel 1", False),
        ("--parallel auto --failfast", False),
        ("--parallel", False),
        ("--parallel=1 db_utils.tests", True),
        ("--shuffle 3 -v 2 --tag=thread", False),
        ("--tag thread --exclude-tag slow", False),
        ("--settings test_sqlite", False),
    ],
)
def test_labels(words: str, expected: bool) -> None:
    assert suite.has_label(words.split()) is expected


def test_every_option_with_a_value_is_known() -> None:
    """The base's runtests.py tells which options take one."""
    file = Fork().base / "tests" / "runtests.py"
    known = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            "parser.add_argument"
        ):
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            flag = keywords.get("action", "").startswith("'store_")
            if not flag and "nargs" not in keywords:
                known |= {ast.literal_eval(word) for word in node.args}
    assert known == suite.WITH_VALUE


def test_the_default_labels_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(processes, "run", run)
    for arguments in (["-k", "test_foreign_code"], ["--parallel", "1"], ["db_utils"]):
        assert suite.run(
            Fork(),
            tree="base",
            database="sqlite",
            scopes=["context"],
            arguments=arguments,
        )
    labels = [*series.labels(Fork().patches()), suite.PACKAGE]
    assert "transactions" in labels
    assert [command[5:] for command in commands] == [
        [*labels, "-k", "test_foreign_code"],
        [*labels, "--parallel", "1"],
        ["db_utils"],
    ]
