"""The ticket's demo as a management command."""

import json
from dataclasses import asdict

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from tests_ticket31997.shapes import SHAPES, measure


class Command(BaseCommand):
    """Runs the shapes and tells how each one ended."""

    help = "Runs the shapes of ticket 31997 and tells how each one ended."

    def add_arguments(self, parser):
        parser.add_argument("shapes", nargs="*", help=f"Of {', '.join(SHAPES)}.")
        parser.add_argument(
            "--json", action="store_true", help="Print one JSON object a line."
        )
        parser.add_argument(
            "--rewritten",
            action="store_true",
            help="Run them as rewritten for async_to_sync() and the asynchronous API.",
        )

    def handle(self, *args, **options):
        if unknown := set(options["shapes"]) - set(SHAPES):
            raise CommandError(f"There is no shape {', '.join(sorted(unknown))}.")
        call_command("migrate", run_syncdb=True, interactive=False, verbosity=0)
        rewritten = {}
        if options["rewritten"]:
            # Old versions of Django lack what this needs.
            from tests_ticket31997.rewritten import REWRITTEN as rewritten
        for name in options["shapes"] or SHAPES:
            outcome = measure(name, rewritten.get(name))
            if options["json"]:
                values = {**asdict(outcome), "title": SHAPES[name].title}
                self.stdout.write(json.dumps(values))
            else:
                self.stdout.write(
                    f"{SHAPES[name].title}: {outcome.result}, "
                    f"{outcome.questions} + {outcome.choices} rows, "
                    f"{outcome.connections} connection(s), {outcome.seconds:.2f} s"
                )
            self.stdout.flush()
        connection.close()
