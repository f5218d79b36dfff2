"""What people have done about the ticket without a patch, in two variants.

Both put connections in a threading.local, which makes every shape pass and has
neither the isolation of ASGI requests nor the care for transactions that a safe
solution needs. They must go on working with the patch, in both scopes.
"""

import threading


def swap_storage() -> None:
    """Variant 1: replace the storage of django.db.connections."""
    from django.db import connections

    connections._connections = threading.local()


def replace_handler() -> None:
    """Variant 2: replace django.db.connections.

    This has to happen before other modules import that name.
    """
    import django.db
    from django.db.utils import DEFAULT_DB_ALIAS, ConnectionHandler
    from django.utils.connection import ConnectionProxy

    class ThreadConnectionHandler(ConnectionHandler):
        def __init__(self, settings=None):
            super().__init__(settings)
            self._connections = threading.local()

    django.db.connections = ThreadConnectionHandler()
    django.db.connection = ConnectionProxy(django.db.connections, DEFAULT_DB_ALIAS)


WORKAROUNDS = {"": lambda: None, "storage": swap_storage, "handler": replace_handler}


def install(name: str) -> None:
    """Install a workaround.

    Args:
        name: a key of WORKAROUNDS; "" for none.

    Raises:
        KeyError: there is none of that name.
    """
    WORKAROUNDS[name]()
