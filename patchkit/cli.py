"""The command line: python -m patchkit, which the Makefile calls through tox."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import timedelta

from patchkit import (
    KitError,
    checkout,
    cover,
    docs,
    full,
    lint,
    prefixes,
    processes,
    relative,
    say,
    series,
    suite,
)
from patchkit.checkout import Fork
from patchkit.servers import NoServer


def _checkout(fork: Fork, args: argparse.Namespace) -> bool:
    if not checkout.make(fork, args.upstream):
        say("django-fork/django is up to date.")
    return True


def _export(fork: Fork, args: argparse.Namespace) -> bool:
    for line in series.export(fork) or ["patches/ is up to date."]:
        say(line)
    return True


def _clean(fork: Fork, args: argparse.Namespace) -> bool:
    checkout.remove(fork)
    return True


def _lint(fork: Fork, args: argparse.Namespace) -> bool:
    checkout.make(fork, args.upstream)
    return lint.lint(fork)


def _prefixes(fork: Fork, args: argparse.Namespace) -> bool:
    return prefixes.check(fork, args.upstream)


def _statements(fork: Fork, args: argparse.Namespace) -> bool:
    from patchkit import statements

    checkout.make(fork, args.upstream)
    return statements.check(fork, args.paths, args.jobs)


def _cover(fork: Fork, args: argparse.Namespace) -> bool:
    checkout.make(fork, args.upstream)
    return cover.check(fork)


def _docs(fork: Fork, args: argparse.Namespace) -> bool:
    from patchkit import review

    checkout.make(fork, args.upstream)
    passed = docs.build_both(fork)
    say(f"The review: {relative(review.write(fork), fork.root)}")
    return passed


def _full(fork: Fork, args: argparse.Namespace) -> bool:
    checkout.make(fork, args.upstream)
    return full.check(fork, again=args.again)


def _history(fork: Fork, args: argparse.Namespace) -> bool:
    from patchkit.history import history

    checkout.make(fork, args.upstream)
    return history(fork, save=args.save)


def _submit(fork: Fork, args: argparse.Namespace) -> bool:
    from patchkit.submit import submit

    if not args.upstream:
        raise KitError("Where is your clone of Django? UPSTREAM=PATH says it.")
    if args.ai_disclosure is None:
        raise KitError(
            "Django asks whether AI tools were used, and nobody but you can tell: "
            "DISCLOSURE=none, or DISCLOSURE='which ones, and for what'."
        )
    submit(
        fork,
        args.upstream,
        base=args.base,
        disclosure=args.ai_disclosure,
        dry_run=args.dry_run,
        max_age=timedelta(days=args.max_age),
    )
    return True


def _rebase(fork: Fork, args: argparse.Namespace) -> bool:
    from patchkit.rebase import abort, rebase

    if args.abort:
        say("Dropped." if abort(fork) else "There is nothing to drop.")
    elif not (args.upstream or (args.version and args.sha256)):
        raise KitError(
            "Where to? VERSION=6.1.4 SHA256=<of its sdist on PyPI>, or UPSTREAM=PATH."
        )
    elif not rebase(fork, args.version or "", args.sha256 or "", args.upstream):
        say("The series applies there as it is.")
    return True


def _wheel(fork: Fork, args: argparse.Namespace) -> bool:
    from patchkit import wheel

    checkout.make(fork)
    built = relative(wheel.build(fork, args.version), fork.root)
    say(f"{built}: `pip install` it into the environment of your project.")
    return True


def _runtests(fork: Fork, args: argparse.Namespace) -> bool:
    checkout.make(fork, args.upstream)
    scopes = [args.scope] if args.scope else suite.SCOPES
    try:
        return suite.run(
            fork,
            tree=args.tree,
            database=args.database,
            scopes=scopes,
            arguments=args.arguments,
        )
    except NoServer as e:
        if not args.optional:
            raise
        say(f"Skipped: {e}")
        return True


def _demo(fork: Fork, args: argparse.Namespace) -> bool:
    from patchkit.demo import demo

    checkout.make(fork, args.upstream)
    return demo(fork, args.database, markdown=args.markdown)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    main = argparse.ArgumentParser(
        prog="python -m patchkit", description="The commands behind the Makefile."
    )
    commands = main.add_subparsers(required=True, metavar="command")

    upstream = argparse.ArgumentParser(add_help=False)
    upstream.add_argument(
        "--upstream",
        metavar="PATH[@REV]",
        default=os.environ.get("UPSTREAM") or None,
        help="a clone of Django to use instead of the release in base.toml; nothing "
        "in it is changed (default: $UPSTREAM)",
    )
    database = argparse.ArgumentParser(add_help=False)
    database.add_argument(
        "--database",
        choices=suite.DATABASES,
        default="sqlite",
        help="PostgreSQL is started for the run, unless libpq's variables (PGHOST "
        "...) say where one is, and so is an installed MariaDB, unless MYSQL_HOST ... "
        "do (default: sqlite)",
    )

    command = commands.add_parser(
        "checkout",
        parents=[upstream],
        help="make django-fork/django (patched) and django-fork/base (not patched)",
    )
    command.set_defaults(run=_checkout)

    command = commands.add_parser(
        "export", help="write the commits in django-fork/django to patches/"
    )
    command.set_defaults(run=_export)

    command = commands.add_parser(
        "clean", help="remove both trees, unless there is work that patches/ lacks"
    )
    command.set_defaults(run=_clean)

    command = commands.add_parser(
        "lint",
        parents=[upstream],
        help="run black, isort and flake8 on the files that the series changes",
    )
    command.set_defaults(run=_lint)

    command = commands.add_parser(
        "prefixes",
        parents=[upstream],
        help="run the tests that each prefix of the series touches, on SQLite",
    )
    command.set_defaults(run=_prefixes)

    command = commands.add_parser(
        "statements",
        parents=[upstream],
        help="delete each statement that the series adds to Django's code by itself, "
        "and decide each condition: a test of the series has to fail",
    )
    command.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="files such as django/db/transaction.py (default: all)",
    )
    command.add_argument(
        "--jobs",
        type=int,
        default=0,
        help="how many runs of tests at a time (default: as many as there are cores)",
    )
    command.set_defaults(run=_statements)

    command = commands.add_parser(
        "cover",
        parents=[upstream],
        help="run the series' own tests and look whether they execute all it adds",
    )
    command.set_defaults(run=_cover)

    command = commands.add_parser(
        "docs",
        parents=[upstream],
        help="build and check the documentation of both trees, and write the page "
        "that shows what the series changes in it",
    )
    command.set_defaults(run=_docs)

    command = commands.add_parser(
        "full",
        parents=[upstream],
        help="run Django's whole suite on both trees and both databases and compare; "
        "goes on where an earlier one was interrupted",
    )
    command.add_argument(
        "--again", action="store_true", help="forget the results that are kept"
    )
    command.set_defaults(run=_full)

    command = commands.add_parser(
        "history",
        parents=[upstream],
        help="run the ticket on the versions of Django since 2.2",
    )
    command.add_argument(
        "--save",
        action="store_true",
        default=bool(os.environ.get("SAVE")),
        help="write the tables into README.md too (default: $SAVE)",
    )
    command.set_defaults(run=_history)

    command = commands.add_parser(
        "submit",
        parents=[upstream],
        help="make a branch with the series in your clone of Django, once its lints "
        "and tests pass there, and the text of the pull request; pushes nothing",
    )
    command.add_argument(
        "--base",
        default=os.environ.get("BASE") or "main",
        help="the branch in the clone to begin at (default: $BASE or main)",
    )
    command.add_argument(
        "--ai-disclosure",
        metavar="WORDS",
        default=os.environ.get("DISCLOSURE") or None,
        help="'none', or which AI tools were used for what, as Django's template for "
        "pull requests asks (default: $DISCLOSURE)",
    )
    command.add_argument(
        "--max-age",
        type=int,
        default=int(os.environ.get("MAX_AGE") or 30),
        metavar="DAYS",
        help="how old the last commit of the base may be (default: $MAX_AGE or 30)",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        default=bool(os.environ.get("DRY_RUN")),
        help="do all but make the branch and the text (default: $DRY_RUN)",
    )
    command.set_defaults(run=_submit)

    command = commands.add_parser(
        "rebase",
        parents=[upstream],
        help="move the pin to another release and merge the series onto it, or onto "
        "a clone of Django; stops at a conflict, and goes on when called again",
    )
    for option in ("version", "sha256"):
        command.add_argument(
            f"--{option}",
            default=os.environ.get(option.upper()) or None,
            help=f"of the release's sdist on PyPI (default: ${option.upper()})",
        )
    command.add_argument(
        "--abort",
        action="store_true",
        default=bool(os.environ.get("ABORT")),
        help="drop a merge that has conflicts (default: $ABORT)",
    )
    command.set_defaults(run=_rebase)

    command = commands.add_parser(
        "wheel",
        help="build a wheel of Django with the series, to try it in your own project",
    )
    command.add_argument(
        "--version",
        default=os.environ.get("VERSION") or "",
        help="one of the releases in base.toml (default: $VERSION or the pin)",
    )
    command.set_defaults(run=_wheel)

    command = commands.add_parser(
        "runtests",
        parents=[upstream, database],
        help="run Django's runtests.py in a tree",
        epilog="Other arguments are labels and options for runtests.py; the default "
        "labels are those of the tests that the series touches and our own.",
    )
    command.add_argument(
        "--tree",
        choices=("base", "django"),
        default="django",
        help="base: without the series (default: django)",
    )
    command.add_argument(
        "--scope",
        choices=suite.SCOPES,
        help="the DATABASE_CONNECTION_SCOPE (default: one run with each)",
    )
    command.add_argument(
        "--optional",
        action="store_true",
        help="where there is no server to run on, say so: it's no error",
    )
    command.set_defaults(run=_runtests)

    command = commands.add_parser(
        "demo",
        parents=[upstream, database],
        help="run the ticket on both trees and show what happens in a table",
    )
    command.add_argument(
        "--markdown", action="store_true", help="print the table as Markdown"
    )
    command.set_defaults(run=_demo)
    return main


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the words after the program's name; sys.argv's by default.

    Returns:
        The exit status: 0 if all went well.
    """
    main_parser = parser()
    args, rest = main_parser.parse_known_args(argv)
    if rest and args.run is not _runtests:
        main_parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.arguments = [argument for argument in rest if argument != "--"]
    try:
        with processes.leaving_nothing():
            return 0 if args.run(Fork(), args) else 1
    except KitError as e:
        print(f"Error: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
