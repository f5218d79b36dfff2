"""What a project with pytest-playwright needs for its tests, and where Chromium is."""

import os
import shutil

import pytest

# Playwright's sync API keeps an event loop running in the thread of the tests.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """Debian's Chromium, also for root."""
    own = {"executable_path": shutil.which("chromium"), "args": ["--no-sandbox"]}
    return browser_type_launch_args | own
