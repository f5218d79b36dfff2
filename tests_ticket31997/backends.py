"""The server's side of it: PostgreSQL's backends, a process a connection."""

from __future__ import annotations

import time

from django.db import DEFAULT_DB_ALIAS, connections

# How long a backend may take to end after its client has, in seconds.
PATIENCE = 10


class Backends:
    """Counts the backends of the default database, on a connection of its own.

    The connection isn't counted, and is closed at the end of the block. On a
    database other than PostgreSQL all counts are None.
    """

    def __enter__(self) -> Backends:
        self.monitor = None
        if connections[DEFAULT_DB_ALIAS].vendor == "postgresql":
            self.monitor = connections[DEFAULT_DB_ALIAS].copy()
            self.monitor.connect()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.monitor:
            self.monitor.close()

    def pids(self) -> set[int]:
        """Return the process ids of the backends that serve other clients."""
        with self.monitor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity"
                " WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            return {pid for (pid,) in cursor.fetchall()}

    def count(self) -> int | None:
        """Return the number of backends that serve other clients."""
        return len(self.pids()) if self.monitor else None

    def count_without_closed(self, driver_connections: list) -> int | None:
        """Wait for the backends of closed connections to end, then count.

        Args:
            driver_connections: psycopg's connections, open and closed ones.

        Returns:
            The number of backends that serve other clients.

        Raises:
            TimeoutError: such a backend hasn't ended after PATIENCE seconds.
        """
        if not self.monitor:
            return None
        deadline = time.monotonic() + PATIENCE
        open_pids = {c.info.backend_pid for c in driver_connections if not c.closed}
        while not (pids := self.pids()) <= open_pids:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Backends {pids - open_pids} have no client.")
            time.sleep(0.01)
        return len(pids)
