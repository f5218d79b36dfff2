"""The command line: its help, and what it says to those who misuse it."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import compare
from patchkit import ROOT, KitError, checkout, cli, shapes, submit, suite
from patchkit.fork import Fork
from patchkit.tests.conftest import run_python
from tests_ticket31997.patience import PATIENCE

VARIABLES = (
    *("ABORT", "ASV", "BASE", "CONFIRM", "DB", "DISCLOSURE", "DRY_RUN", "EXAMPLES"),
    *("MAX_AGE", "SAVE", "SHA256", "TICKET", "UPDATE", "UPSTREAM", "VERSION"),
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the commands would be run with."""
    seen: dict[str, object] = {}
    monkeypatch.setattr(checkout, "make", lambda *args: False)
    monkeypatch.setattr(suite, "run", lambda _, **kwargs: bool(seen.update(kwargs)))
    monkeypatch.setattr(submit, "submit", lambda *args, **kwargs: seen.update(kwargs))
    for name in ("demo", "history"):
        monkeypatch.setattr(shapes, name, lambda *args, **kwargs: seen.update(kwargs))
    monkeypatch.setattr(
        compare, "compare", lambda _, clone, **how: seen.update(clone=clone, **how)
    )
    return seen


@pytest.mark.parametrize("command", [[], *([name] for name in cli.commands.commands)])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command, "--help"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("Usage: python -m patchkit " + "".join(command))
    assert "--help" in output


def test_every_variable_is_known() -> None:
    found = {
        option.envvar
        for command in cli.commands.commands.values()
        for option in command.params
        if option.envvar
    }
    assert found == set(VARIABLES)
    # tox passes them on, and the Makefile exports them.
    for file in ("tox.ini", "Makefile"):
        text = (ROOT / file).read_text(encoding="utf-8").split()
        assert not [name for name in found - {"DB"} if name not in text]


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (["submit"], {"DRY_RUN": "maybe"}, "'DRY_RUN'): 'maybe' is not a valid"),
        (["submit"], {"MAX_AGE": "abc"}, "'MAX_AGE'): 'abc' is not a valid"),
        (["submit"], {"MAX_AGE": "-1"}, "'MAX_AGE'): -1 is not in the range"),
        (["submit"], {}, "Where is your clone of Django? UPSTREAM=PATH says it."),
        (["submit"], {"UPSTREAM": "."}, "Django asks whether AI tools were used"),
        (["runtests"], {"EXAMPLES": "abc"}, "'EXAMPLES'): 'abc' is not a valid"),
        (["runtests"], {"EXAMPLES": "0"}, "'EXAMPLES'): 0 is not in the range"),
        (["demo"], {"DB": "oracle"}, "'DB'): 'oracle' is not one of 'sqlite', "),
        (["demo", "transactions"], {}, "unexpected extra argument (transactions)"),
        (["bench", "--rounds=abc"], {}, "'--rounds': 'abc' is not a valid"),
        (["bench", "--most=0"], {}, "'--most': 0 is not in the range"),
        (["bench"], {"SAVE": "maybe"}, "'SAVE'): 'maybe' is not a valid"),
        (["bench"], {"UPSTREAM": "/x"}, "UPSTREAM: there is no directory /x."),
        (["checkout"], {"UPSTREAM": "/x"}, "UPSTREAM: there is no directory /x."),
        (["checkout"], {"UPSTREAM": "."}, "UPSTREAM: . is not a clone of Django"),
        (["rebase"], {"VERSION": "6.1.4"}, "Where to? VERSION=6.1.4 SHA256="),
        (["wheel"], {"VERSION": "1.0"}, "base.toml has no sdist of Django 1.0"),
        (["nothing"], {}, "No such command 'nothing'."),
    ],
)
def test_misuse(
    words: list[str],
    variables: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and message in error
    assert "Usage" not in error


@pytest.mark.parametrize(
    ("value", "expected"), [("0", False), ("no", False), ("", False), ("1", True)]
)
def test_a_flag_that_is_off(
    value: str,
    expected: bool,
    seen: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DRY_RUN", "UPDATE", "CONFIRM"):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UPSTREAM", ".")
    monkeypatch.setenv("DISCLOSURE", "none")
    assert cli.main(["submit"]) == 0
    assert seen["dry_run"] is seen["update"] is expected
    confirm = seen["confirm"]
    assert callable(confirm) and confirm("A statement.") is expected
    for command in ("bench", "demo", "history"):
        monkeypatch.setenv("SAVE", value)
        assert cli.main([command]) == 0
        assert seen.pop("save") is expected


def test_options_of_bench(
    seen: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASV", "~/asv")
    assert cli.main(["bench", "--fan-out-rounds=0", "--most=50"]) == 0
    numbers = {"rounds": 6, "fan_out_rounds": 0, "most": 50}
    assert seen == {"clone": "~/asv", "save": False, **numbers}


def test_a_check_that_does_not_pass(seen: dict[str, object]) -> None:
    assert cli.main(["runtests"]) == 1


def test_an_error_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object) -> None:
        raise KitError("What to do.")

    monkeypatch.setattr(checkout, "make", fail)
    assert cli.main(["checkout"]) == 2
    assert capsys.readouterr().err == "Error: What to do.\n"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_clone_that_is_read_only(
    number: int,
    fork: Fork,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def acquire(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number), str(fork.fork / ".lock"))

    monkeypatch.setattr(cli, "Fork", lambda: fork)
    monkeypatch.setattr("patchkit.fork.FileLock.acquire", acquire)
    assert cli.main(["export"]) == 2
    message = f"Error: {fork.fork / '.lock'}: {os.strerror(number)}.\n"
    assert capsys.readouterr().err == message
    monkeypatch.setattr(cli, "NOT_HERE", set())
    with pytest.raises(OSError, match=os.strerror(number)):
        cli.main(["export"])


def test_no_git(
    fork: Fork,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "Fork", lambda: fork)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["checkout"]) == 2
    error = capsys.readouterr().err
    assert error == "Error: git isn't on the path: install it (apt install git).\n"


def test_no_tblib(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "find_spec", lambda name: name != "tblib")
    monkeypatch.setattr(checkout, "make", lambda *args: False)
    assert cli.main(["runtests"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: tblib, which Django's tests need, isn't installed")


@pytest.mark.parametrize("said", [False, True])
def test_nobody_to_ask(
    said: bool, seen: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard input is closed, and no statement ticked unless it has been said."""
    monkeypatch.setattr("sys.stdin", None)
    words = ["--upstream=django", "--disclosure=none", *["--confirm"] * said]
    assert cli.main(["submit", *words]) == 0
    confirm = seen["confirm"]
    assert callable(confirm) and confirm("Is it?") is said


def test_words_go_through_to_runtests(seen: dict[str, object]) -> None:
    words = ("transactions", "-k", "test_a", "--parallel", "1", "-v2", "--tag=thread")
    cli.main(["runtests", "--scope=thread", *words, "--tree", "base"])
    assert seen["arguments"] == words
    assert seen["scopes"] == ["thread"]
    assert seen["tree"] == "base"


def test_who_waits_for_whom(fork: Fork, capsys: pytest.CaptureFixture[str]) -> None:
    code = """
import sys
from pathlib import Path
from patchkit.fork import Fork
with Fork(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    input()
"""
    with run_python(code, fork.root) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "locked\n"
        # It goes on once the other one has ended, which is at the first word.
        stdin = process.stdin
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("patchkit.fork.say", lambda m: (print(m), stdin.close()))
            checkout.make(fork)
    output = capsys.readouterr().out
    who = f"Waiting for process {process.pid} (patchkit {fork.root}), which is at work"
    assert output.startswith(who)
    assert not (fork.fork / ".lock-holder").exists()


def test_a_killed_command_holds_no_lock(
    fork: Fork, capsys: pytest.CaptureFixture[str]
) -> None:
    (fork.fork / ".lock-holder").write_text("process 1 (patchkit checkout)")
    (fork.fork / ".lock").touch()
    with fork.locked():
        assert f"process {os.getpid()} " in (fork.fork / ".lock-holder").read_text()
    assert "Waiting" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "DB=oracle"], "DB=oracle is none of sqlite, postgresql and mysql"),
        (["demo", "PYTHON=false"], "PYTHON=false is not a Python 3.12 or newer."),
    ],
)
def test_misuse_of_make(words: list[str], message: str, tmp_path: Path) -> None:
    if not shutil.which("make"):
        pytest.skip("there is no make")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "tox.txt").touch()
    result = subprocess.run(
        ["make", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"Makefile", "requirements"}


def test_main_is_what_python_runs() -> None:
    command = (sys.executable, "-m", "patchkit", "--help")
    output = subprocess.check_output(command, cwd=ROOT, text=True, timeout=PATIENCE)
    assert output.startswith("Usage: python -m patchkit")
