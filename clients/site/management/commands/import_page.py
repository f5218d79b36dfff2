"""Import a web page through Playwright's sync API, in one transaction."""

import json

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.transaction import atomic
from playwright.sync_api import sync_playwright

from tests_ticket31997.models import Question
from tests_ticket31997.patience import PATIENCE
from tests_ticket31997.test_playwright import CHROMIUM, texts


class Command(BaseCommand):
    """The program: django-admin import_page URL."""

    help = "Import the questions of a page: all of them, or none if it has no footer."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the page's address."""
        parser.add_argument("url")

    def write(self, text: str) -> None:
        """Do what the command and the page's scripts do."""
        with atomic():
            Question.objects.create(question_text=text)
            self.used.add(connection.connection.info.backend_pid)

    @atomic
    def handle(self, *, url: str, **options: object) -> None:
        """Say what the transaction has, and how many connections wrote it."""
        self.used: set[int] = set()
        self.write("the page")
        with sync_playwright() as playwright:
            page = playwright.chromium.launch(**CHROMIUM).new_page()
            page.set_default_timeout(PATIENCE * 1000)
            page.expose_function("write", self.write)
            page.goto(url)
            for text in page.locator("li").all_inner_texts():
                self.write(text)
            page.wait_for_function("document.title == 'complete'")
            self.stdout.write(json.dumps([sorted(texts()), len(self.used)]))
            if not page.locator("footer").count():
                raise CommandError("The page is cut off.")
