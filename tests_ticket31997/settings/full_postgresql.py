"""The same on PostgreSQL."""

from tests_ticket31997.settings.full_sqlite import *  # noqa: F403
from tests_ticket31997.settings.postgresql import DATABASES  # noqa: F401
