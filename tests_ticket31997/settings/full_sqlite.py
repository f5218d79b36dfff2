"""For Django's whole suite: its own settings, and the scope."""

from test_sqlite import *  # noqa: F403

from tests_ticket31997.settings import DATABASE_CONNECTION_SCOPE  # noqa: F401
