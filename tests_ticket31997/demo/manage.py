#!/usr/bin/env python
"""The ticket's demo as a Django project.

    python manage.py ticket31997

Needs a Django on Python's path (patched or not), DATABASE_CONNECTION_SCOPE in
the environment for a scope other than "context", and for PostgreSQL
DJANGO_SETTINGS_MODULE=tests_ticket31997.settings.postgresql and libpq's variables.
"""

import os
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here.parent.parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests_ticket31997.settings.sqlite")

    # Before anything imports django.db.connections.
    from tests_ticket31997 import workarounds

    workarounds.install(os.environ.get("TICKET31997_WORKAROUND", ""))

    from django.core.management import execute_from_command_line

    with tempfile.TemporaryDirectory(prefix="ticket31997-") as directory:
        os.environ["TICKET31997_DIR"] = directory
        try:
            execute_from_command_line(sys.argv)
        except KeyboardInterrupt:
            sys.exit(130)
