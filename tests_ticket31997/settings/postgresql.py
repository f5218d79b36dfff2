"""PostgreSQL, wherever the libpq variables (PGHOST, PGUSER ...) say it is."""

from tests_ticket31997.settings import *  # noqa: F403

DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": f"ticket31997_{alias}",
    }
    for alias in ("default", "other")
}
