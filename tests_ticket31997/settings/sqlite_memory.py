"""SQLite in memory, as Django's own tests have it."""

from tests_ticket31997.settings import *  # noqa: F403

DATABASES = {
    alias: {"ENGINE": "django.db.backends.sqlite3"} for alias in ("default", "other")
}
