"""Settings of the project: PostgreSQL, with the options of the test that runs it."""

import json
import os

from tests_ticket31997.settings.postgresql import *  # noqa: F403

_options = json.loads(os.environ.get("TICKET31997_OPTIONS", "{}"))
DATABASES["default"]["OPTIONS"] = _options  # noqa: F405
INSTALLED_APPS = ["clients.site", "tests_ticket31997"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "clients.site.urls"
# A view that fails is what the client asked for.
LOGGING = {"version": 1, "loggers": {"django.request": {"level": "CRITICAL"}}}
