"""Settings: the scope is SHOP_SCOPE's."""

import os

SECRET_KEY = "shop"
INSTALLED_APPS = ["shop"]
ROOT_URLCONF = "shop.urls"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASE_CONNECTION_SCOPE = os.environ["SHOP_SCOPE"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        # Two connections of one thread would wait for each other in vain.
        "OPTIONS": {"timeout": 0},
        "TEST": {"NAME": "test.sqlite3"},
    }
}
