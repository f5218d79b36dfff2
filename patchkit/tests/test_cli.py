"""The command line."""

import pytest

from patchkit import KitError, checkout, cli, suite

COMMANDS = (
    "checkout",
    "export",
    "clean",
    "lint",
    "prefixes",
    "runtests",
    "statements",
    "demo",
)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        cli.main([*command, "--help"])
    assert e.value.code == 0
    assert capsys.readouterr().out.startswith("usage: python -m patchkit")


def test_an_error_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object) -> None:
        raise KitError("What to do.")

    monkeypatch.setattr(checkout, "make", fail)
    assert cli.main(["checkout"]) == 1
    assert capsys.readouterr().err == "Error: What to do.\n"


def test_words_go_through_to_runtests_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = {}
    monkeypatch.setattr(checkout, "make", lambda *args: False)
    monkeypatch.setattr(suite, "run", lambda fork, **kwargs: seen.update(kwargs))
    cli.main(["runtests", "--scope=thread", "transactions", "-k", "test_a"])
    assert seen["arguments"] == ["transactions", "-k", "test_a"]
    assert seen["scopes"] == ["thread"]
    with pytest.raises(SystemExit):
        cli.main(["demo", "transactions"])
    assert "unrecognized arguments: transactions" in capsys.readouterr().err
