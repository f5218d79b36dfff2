"""Settings for runtests.py and for the demo, a module for each database."""

import os

# The rest of what runtests.py needs has no default in Django either.
SECRET_KEY = "for tests only"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "tests_ticket31997.runner.Runner"

# For the demo; runtests.py puts its own in the place of it.
INSTALLED_APPS = ["tests_ticket31997"]

# What each run is about; the command that starts it sets the variable.
DATABASE_CONNECTION_SCOPE = os.environ.get("DATABASE_CONNECTION_SCOPE", "context")
