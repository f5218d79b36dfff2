"""MariaDB or MySQL, wherever the client's variables (MYSQL_HOST ...) say it is."""

import os

import pymysql

from tests_ticket31997.patience import PATIENCE
from tests_ticket31997.settings import *  # noqa: F403

# Django's own driver, mysqlclient, has to be compiled.
pymysql.install_as_MySQLdb()

DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.mysql",
        "NAME": f"ticket31997_{alias}",
        # Django takes a path for a socket's.
        "HOST": os.environ.get("MYSQL_UNIX_PORT") or os.environ.get("MYSQL_HOST", ""),
        "PORT": os.environ.get("MYSQL_TCP_PORT", ""),
        "USER": os.environ.get("MYSQL_USER", ""),
        "PASSWORD": os.environ.get("MYSQL_PWD", ""),
        # So that nothing waits for ever for what a test that failed has locked.
        "OPTIONS": {"init_command": f"SET lock_wait_timeout = {PATIENCE}"},
    }
    for alias in ("default", "other")
}
