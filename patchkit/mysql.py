"""A MariaDB server for one run, or the user's own MariaDB or MySQL."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from patchkit import KitError, servers
from patchkit.servers import NoServer, Variables
from tests_ticket31997.patience import wait_until

# Any of these in the environment says where the user's server is, as it does to
# MySQL's own clients, which know MYSQL_PWD too. MYSQL_USER is ours.
LOCATION = ("MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_UNIX_PORT")

# The server, what makes its data, and what Django copies databases with for tests in
# several processes. Servers are often beside the path.
PROGRAMS = ("mariadbd", "mariadb-install-db", "my_print_defaults", "mysql", "mysqldump")
BESIDE = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")


def installation() -> list[str]:
    """Find the programs of a MariaDB installed on this machine.

    Returns:
        The path of each of PROGRAMS.

    Raises:
        NoServer: one isn't there.
    """
    found = {program: servers.which(program, BESIDE) or "" for program in PROGRAMS}
    if missing := [program for program, place in found.items() if not place]:
        raise NoServer(
            f"No MariaDB is installed here: there is no {' or '.join(missing)}. "
            "Install one (apt install mariadb-server-core mariadb-client, which "
            "starts nothing), or say by MYSQL_HOST, MYSQL_TCP_PORT or MYSQL_UNIX_PORT, "
            "with MYSQL_USER and MYSQL_PWD, where a server is."
        )
    return list(found.values())


def server() -> AbstractContextManager[Variables]:
    """Provide a MariaDB server to the commands that run inside the block.

    With one of LOCATION set, that is the user's server, as it is: see servers.own().
    Otherwise an installed one listens on a Unix socket in a temporary directory, and
    ends with this process: see servers.kept().

    Returns:
        A context manager that gives the environment for the commands, in which the
        settings find the server.

    Raises:
        NoServer: none is installed.
        KitError: it can't be started.
    """
    if servers.chosen(LOCATION):
        return servers.own("mysql")
    return servers.kept("patchkit.mysql", f"MariaDB ({installation()[0]})")


def execute(env: Mapping[str, str], *statements: str) -> None:
    """Execute statements on the server: see servers.execute()."""
    import pymysql

    socket = env.get("MYSQL_UNIX_PORT")
    # PyMySQL wouldn't close its own end.
    if socket and not Path(socket).is_socket():
        raise KitError(f"MariaDB can't be reached: there is no socket {socket}.")
    names = {"host": "MYSQL_HOST", "user": "MYSQL_USER", "password": "MYSQL_PWD"}
    where = {option: env.get(name, "") for option, name in names.items()}
    port = int(env.get("MYSQL_TCP_PORT") or 0)
    how = {**where, "unix_socket": socket, "port": port}
    servers.execute(pymysql, "MariaDB", how, statements)


@contextmanager
def _installed(directory: Path) -> Iterator[Variables]:
    """Run the server of an installation."""
    daemon, install, *_ = installation()
    how = servers.options(directory, "mysql")
    socket, log = directory / "socket", directory / "log"
    options = ("--no-defaults", f"--datadir={directory / 'data'}")
    normal = "--auth-root-authentication-method=normal"
    subprocess.run([install, *options, normal], check=True, **how)
    command = [
        *(daemon, *options, f"--socket={socket}", "--skip-networking"),
        *(f"--pid-file={directory / 'pid'}", f"--log-error={log}"),
        "--character-set-server=utf8mb4",
        # Tests only: what a crash of the machine loses is of no value.
        *("--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite"),
    ]
    with subprocess.Popen(command, **how) as process:
        try:
            wait_until(lambda: socket.exists() or process.poll() is not None)
            if process.poll() is not None:
                raise SystemExit(log.read_text(encoding="utf-8"))
            env = {"MYSQL_UNIX_PORT": str(socket), "MYSQL_USER": "root"}
            yield env | {"MYSQL_PWD": ""}
        finally:
            # Its data goes too.
            process.kill()


if __name__ == "__main__":
    servers.keep(_installed)
