"""MariaDB where it isn't installed, or not all of it, or doesn't start."""

import re
from pathlib import Path

import pytest

from patchkit import KitError, cli, mysql
from patchkit.servers import NoServer


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only directory that programs are looked for in."""
    for name in mysql.LOCATION:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mysql, "BESIDE", ())
    return tmp_path


def add(programs: Path, *names: str) -> None:
    for name in names:
        (programs / name).write_text("#!/bin/sh\nexit 1\n")
        (programs / name).chmod(0o755)


def test_no_installation(programs: Path) -> None:
    add(programs, "mariadbd")
    with pytest.raises(NoServer) as caught:
        mysql.installation()
    missing = "mariadb-install-db or my_print_defaults or mysql or mysqldump"
    assert f"there is no {missing}. " in str(caught.value)
    assert "apt install mariadb-server-core mariadb-client, which" in str(caught.value)
    add(programs, "mariadb-install-db", "my_print_defaults")
    # What the server is without: Debian has it in another package.
    with pytest.raises(NoServer, match=r"there is no mysql or mysqldump\. "):
        mysql.installation()
    add(programs, "mysql", "mysqldump")
    assert mysql.installation() == [str(programs / name) for name in mysql.PROGRAMS]


@pytest.mark.parametrize("words", [(), ("--optional",)])
def test_skipped_if_optional(
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("patchkit.checkout.make", lambda *_: True)
    status = cli.main(["runtests", "--database=mysql", *words])
    output = capsys.readouterr()
    if words:
        assert status == 0
        assert output.out.startswith("Skipped: No MariaDB is installed here: ")
    else:
        assert status == 2
        assert output.err.startswith("Error: No MariaDB is installed here: ")


def test_not_reached(programs: Path) -> None:
    for variables in (
        {"MYSQL_UNIX_PORT": str(programs / "no-such-socket")},
        # Nobody listens there.
        {"MYSQL_HOST": "127.0.0.1", "MYSQL_TCP_PORT": "1"},
    ):
        with pytest.raises(KitError, match=r"^MariaDB can't be reached: "):
            mysql.execute(variables)


def test_not_started(programs: Path) -> None:
    add(programs, *mysql.PROGRAMS)
    title = re.escape(f"MariaDB ({programs / 'mariadbd'}) can't be started:\n")
    with pytest.raises(KitError, match=title), mysql.server():
        pass
