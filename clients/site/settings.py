"""Settings of the project: PostgreSQL, shared connections outside of requests."""

from tests_ticket31997.settings.postgresql import *  # noqa: F403

ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "clients.site.urls"
# A view that fails is what the client asked for.
LOGGING = {"version": 1, "loggers": {"django.request": {"level": "CRITICAL"}}}
