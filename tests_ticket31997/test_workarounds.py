"""The ticket's two workarounds go on working, whatever the setting says."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

import django
from django.db import connection
from django.test import SimpleTestCase

from tests_ticket31997.patience import PROGRAM_PATIENCE
from tests_ticket31997.shapes import SHAPES

MANAGE = Path(__file__).parent / "demo" / "manage.py"


@unittest.skipUnless(
    connection.vendor == "sqlite", "The workarounds know nothing of the database."
)
class WorkaroundTests(SimpleTestCase):
    def run_demo(self, workaround, scope):
        """Run all shapes in a process of its own.

        Args:
            workaround: a key of tests_ticket31997.workarounds.WORKAROUNDS.
            scope: the DATABASE_CONNECTION_SCOPE.

        Returns:
            A dict of each shape's result.
        """
        result = subprocess.run(
            [sys.executable, MANAGE, "ticket31997", "--json"],
            env=os.environ
            | {
                "PYTHONPATH": str(Path(django.__file__).parent.parent),
                "DJANGO_SETTINGS_MODULE": "tests_ticket31997.settings.sqlite",
                "DATABASE_CONNECTION_SCOPE": scope,
                "TICKET31997_WORKAROUND": workaround,
            },
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            timeout=PROGRAM_PATIENCE,
        )
        outcomes = [json.loads(line) for line in result.stdout.splitlines()]
        return {outcome["shape"]: outcome["result"] for outcome in outcomes}

    def check(self, workaround):
        for scope in ("context", "thread"):
            with self.subTest(scope=scope):
                self.assertEqual(
                    self.run_demo(workaround, scope), dict.fromkeys(SHAPES, "ok")
                )

    def test_storage_swapped(self):
        self.check("storage")

    def test_handler_replaced(self):
        self.check("handler")
