"""The server's side of it: the backends, as PostgreSQL calls them.

PostgreSQL has a process for each connection, MariaDB and MySQL have a thread.
"""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connections

from tests_ticket31997.patience import wait_until

# The ids of the backends that serve the other clients of the database.
OTHERS = {
    "postgresql": (
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ),
    "mysql": (
        "SELECT id FROM information_schema.processlist"
        " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    ),
}


def backend_id(driver_connection: object) -> int | None:
    """Return the id of the backend of a driver's connection, or None if closed."""
    if hasattr(driver_connection, "thread_id"):
        return driver_connection.thread_id() if driver_connection.open else None
    closed = driver_connection.closed
    return None if closed else driver_connection.info.backend_pid


class Backends:
    """Counts the backends that the default database gets during the block.

    Those that are there before aren't counted: they may be ending, which takes a
    while after their clients have closed their connections. It looks on a
    connection of its own, which isn't counted either, and is closed at the end of
    the block. On a database other than PostgreSQL all counts are None.
    """

    def __enter__(self) -> Backends:
        self.monitor = None
        if connections[DEFAULT_DB_ALIAS].vendor in OTHERS:
            self.monitor = connections[DEFAULT_DB_ALIAS].copy()
            self.monitor.connect()
            self.before = self.ids()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.monitor:
            self.monitor.close()

    def ids(self) -> set[int]:
        """Return the ids of the backends that serve other clients."""
        with self.monitor.connection.cursor() as cursor:
            cursor.execute(OTHERS[self.monitor.vendor])
            return {each for (each,) in cursor.fetchall()}

    def count(self) -> int | None:
        """Return the number of backends that are new since the block began."""
        return len(self.ids() - self.before) if self.monitor else None

    def count_without_closed(self, driver_connections: list) -> int | None:
        """Wait for the backends of closed connections to end, then count.

        Args:
            driver_connections: the driver's connections, open and closed ones.

        Returns:
            The number of backends that are new since the block began.

        Raises:
            TimeoutError: there is a new backend that serves none of them.
        """
        if not self.monitor:
            return None
        open_ids = {backend_id(c) for c in driver_connections}
        wait_until(lambda: self.ids() - self.before <= open_ids)
        return self.count()
