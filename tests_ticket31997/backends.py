"""The server's side of it: PostgreSQL's backends, a process a connection."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connections

from tests_ticket31997.patience import wait_until


class Backends:
    """Counts the backends that the default database gets during the block.

    Those that are there before aren't counted: they may be ending, which takes a
    while after their clients have closed their connections. It looks on a
    connection of its own, which isn't counted either, and is closed at the end of
    the block. On a database other than PostgreSQL all counts are None.
    """

    def __enter__(self) -> Backends:
        self.monitor = None
        if connections[DEFAULT_DB_ALIAS].vendor == "postgresql":
            self.monitor = connections[DEFAULT_DB_ALIAS].copy()
            self.monitor.connect()
            self.before = self.pids()
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
        """Return the number of backends that are new since the block began."""
        return len(self.pids() - self.before) if self.monitor else None

    def count_without_closed(self, driver_connections: list) -> int | None:
        """Wait for the backends of closed connections to end, then count.

        Args:
            driver_connections: psycopg's connections, open and closed ones.

        Returns:
            The number of backends that are new since the block began.

        Raises:
            TimeoutError: there is a new backend that serves none of them.
        """
        if not self.monitor:
            return None
        open_pids = {c.info.backend_pid for c in driver_connections if not c.closed}
        wait_until(lambda: self.pids() - self.before <= open_pids)
        return self.count()
