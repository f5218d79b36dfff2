"""SQLite, in files.

In Django's tests a SQLite database is in memory by default, with a cache that
connections share. They then conflict over a table ("database table is locked")
rather than, as in the ticket, over the database.
"""

import os
import tempfile
from pathlib import Path

from tests_ticket31997.patience import PATIENCE
from tests_ticket31997.settings import *  # noqa: F403

# Django's runtests.py and patchkit's demo make a directory and remove it.
_directory = Path(os.environ.get("TICKET31997_DIR") or tempfile.gettempdir())

DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.sqlite3",
        # Django 2.2 knows no paths but strings.
        "NAME": str(_directory / f"{alias}.sqlite3"),
        # How long a connection waits for the lock of another thread's. Where both
        # are the same thread's it waits in vain: see shapes.without_waiting().
        "OPTIONS": {"timeout": PATIENCE},
        "TEST": {"NAME": str(_directory / f"test_{alias}.sqlite3")},
    }
    for alias in ("default", "other")
}
