"""The command line: python -m patchkit, which the Makefile calls through tox."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import wraps
from typing import Any

import click

from patchkit import (
    KitError,
    checkout,
    cover,
    databases,
    full,
    gates,
    lint,
    prefixes,
    processes,
    relative,
    say,
    series,
    suite,
)
from patchkit.fork import Fork
from patchkit.servers import NoServer

PROGRAM = "python -m patchkit"
# What can't be done here, rather than what is wrong with the program.
NOT_HERE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


def _option(name: str, *, env: str, **attributes: Any) -> Callable[..., Any]:
    """Declare an option that has a variable of the Makefile's too."""
    return click.option(name, envvar=env, show_envvar=True, **attributes)


upstream_option = _option(
    "--upstream",
    env="UPSTREAM",
    metavar="PATH[@REV]",
    help="A clone of Django to use instead of the release in base.toml; nothing in "
    "it is changed.",
)
database_option = _option(
    "--database",
    env="DB",
    type=click.Choice(databases.DATABASES),
    default="sqlite",
    show_default=True,
    help="PostgreSQL is started for the run, unless libpq's variables (PGHOST ...) "
    "say where one is, and so is an installed MariaDB, unless MYSQL_HOST ... do.",
)
version_option = _option(
    "--version", env="VERSION", help="A release of Django, such as 6.1.4."
)


def _on_trees(name: str, **attributes: Any) -> Callable[..., click.Command]:
    """Declare a command that works on both trees, which are made first.

    The function is called with the repository in the place of --upstream.
    """

    def declare(function: Callable[..., bool]) -> click.Command:
        @wraps(function)
        def run(upstream: str | None, **options: Any) -> bool:
            checkout.make(Fork(), upstream)
            return function(Fork(), **options)

        return commands.command(name, **attributes)(upstream_option(run))

    return declare


save_option = _option(
    "--save",
    env="SAVE",
    is_flag=True,
    help="Write the tables into the pages that have them, too.",
)


@click.group()
def commands() -> None:
    """The commands behind the Makefile.

    The exit status is 0 if all went well, 1 if a check didn't pass, 2 if something
    couldn't be done (one sentence says what), and 130 after Ctrl+C.
    """


@commands.result_callback()
@click.pass_context
def _finish(context: click.Context, passed: bool) -> None:
    context.exit(0 if passed else 1)


@commands.command("checkout")
@upstream_option
def _checkout(upstream: str | None) -> bool:
    """Make django-fork/django (patched) and django-fork/base (not patched)."""
    if not checkout.make(Fork(), upstream):
        say("django-fork/django is up to date.")
    return True


@commands.command("export")
def _export() -> bool:
    """Write the commits in django-fork/django to patches/."""
    for line in series.export(Fork()) or ["patches/ is up to date."]:
        say(line)
    return True


@commands.command("clean")
def _clean() -> bool:
    """Remove both trees, unless there is work that patches/ lacks."""
    checkout.remove(Fork())
    return True


@_on_trees("lint")
def _lint(fork: Fork) -> bool:
    """Run black, isort and flake8 on the files that the series changes."""
    return lint.lint(fork)


@commands.command("prefixes")
@upstream_option
def _prefixes(upstream: str | None) -> bool:
    """Run the tests that each prefix of the series touches, on SQLite."""
    return prefixes.check(Fork(), upstream)


@_on_trees("statements")
@click.option(
    "--jobs",
    type=click.IntRange(min=0),
    default=0,
    help="How many runs of tests at a time; as many as there are cores by default.",
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
def _statements(fork: Fork, jobs: int, paths: tuple[str, ...]) -> bool:
    """Delete each statement that the series adds by itself: a test has to fail.

    Each condition is decided too. PATHs are files such as django/db/transaction.py;
    all by default.
    """
    from patchkit import statements

    return statements.check(fork, paths, jobs)


@_on_trees("cover")
def _cover(fork: Fork) -> bool:
    """Run the series' own tests and look whether they execute all it adds."""
    return cover.check(fork)


@_on_trees("docs")
def _docs(fork: Fork) -> bool:
    """Build and check the documentation of both trees.

    The page that shows what the series changes in it is written too.
    """
    from docs_changes import docs, review

    passed = docs.build_both(fork)
    say(f"The review: {relative(review.write(fork))}")
    return passed


@_on_trees("full")
@click.option("--again", is_flag=True, help="Forget the results that are kept.")
def _full(fork: Fork, *, again: bool) -> bool:
    """Run Django's whole suite on both trees and both databases and compare.

    It goes on where an earlier one was interrupted.
    """
    return full.check(fork, again=again)


@_on_trees("history")
@save_option
def _history(fork: Fork, *, save: bool) -> bool:
    """Run the ticket on the versions of Django since 2.2."""
    from patchkit.history import history

    return history(fork, save=save)


@commands.command("submit")
@upstream_option
@_option(
    "--base",
    env="BASE",
    default="main",
    show_default=True,
    help="The branch in the clone to begin at.",
)
@_option(
    "--ai-disclosure",
    env="DISCLOSURE",
    metavar="WORDS",
    help="'none', or which AI tools were used for what, as Django's template for pull "
    "requests asks.",
)
@_option(
    "--ticket",
    env="TICKET",
    metavar="NUMBER",
    default=gates.TICKET,
    show_default=True,
    help="Of the ticket, if the work got one of its own.",
)
@_option(
    "--confirm",
    env="CONFIRM",
    is_flag=True,
    help="All statements of the checklist are true: you have read them. Without it "
    "you are asked, or they stay open where there is no terminal.",
)
@_option(
    "--update",
    env="UPDATE",
    is_flag=True,
    help="Replace the branch that this made before; it's kept by another name.",
)
@_option(
    "--max-age",
    env="MAX_AGE",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="How old the last commit of the base may be.",
)
@_option(
    "--dry-run",
    env="DRY_RUN",
    is_flag=True,
    help="Do all but make the branch and the text.",
)
def _submit(
    upstream: str | None,
    base: str,
    ai_disclosure: str | None,
    ticket: str,
    *,
    confirm: bool,
    update: bool,
    max_age: int,
    dry_run: bool,
) -> bool:
    """Make a branch with the series in your clone of Django, and the PR's text.

    Its lints and tests have to pass there first. Nothing is pushed.
    """
    from patchkit.submit import submit

    if not upstream:
        raise KitError("Where is your clone of Django? UPSTREAM=PATH says it.")
    if ai_disclosure is None:
        raise KitError(
            "Django asks whether AI tools were used, and nobody but you can tell: "
            "DISCLOSURE=none, or DISCLOSURE='which ones, and for what'."
        )

    def is_true(statement: str) -> bool:
        if confirm or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return confirm
        return click.confirm(f"Is it true? {statement}")

    submit(
        Fork(),
        upstream,
        base=base,
        disclosure=ai_disclosure,
        ticket=ticket,
        confirm=is_true,
        update=update,
        dry_run=dry_run,
        max_age=timedelta(days=max_age),
    )
    return True


@commands.command("rebase")
@upstream_option
@version_option
@_option("--sha256", env="SHA256", help="Of the release's sdist on PyPI.")
@_option("--abort", env="ABORT", is_flag=True, help="Drop a merge that has conflicts.")
def _rebase(
    upstream: str | None, version: str | None, sha256: str | None, *, abort: bool
) -> bool:
    """Move the pin to another release and merge the series onto it.

    Or onto a clone of Django. It stops at a conflict, and goes on when called again.
    """
    from patchkit import rebase

    if abort:
        say("Dropped." if rebase.abort(Fork()) else "There is nothing to drop.")
    elif not (upstream or (version and sha256)):
        raise KitError(
            "Where to? VERSION=6.1.4 SHA256=<of its sdist on PyPI>, or UPSTREAM=PATH."
        )
    elif not rebase.rebase(Fork(), version or "", sha256 or "", upstream):
        say("The series applies there as it is.")
    return True


@commands.command("wheel")
@version_option
def _wheel(version: str | None) -> bool:
    """Build a wheel of Django with the series, to try it in your own project.

    Of the pinned release, or of another one in base.toml.
    """
    from patchkit import wheel

    checkout.make(Fork())
    built = relative(wheel.build(Fork(), version or ""))
    say(f"{built}: `pip install` it into the environment of your project.")
    return True


@_on_trees(
    "runtests",
    context_settings={"ignore_unknown_options": True},
    epilog="The default labels are those of the tests that the series touches and our "
    "own.",
)
@database_option
@click.option(
    "--tree",
    type=click.Choice(("base", "django")),
    default="django",
    show_default=True,
    help="base: without the series.",
)
@click.option(
    "--scope",
    type=click.Choice(suite.SCOPES),
    help="The DATABASE_CONNECTION_SCOPE; one run with each by default.",
)
@_option(
    "--examples",
    env="EXAMPLES",
    type=click.IntRange(min=1),
    help="How many random schedules to try, other ones each time.",
)
@click.option(
    "--optional",
    is_flag=True,
    help="Where there is no server to run on, say so: it's no error.",
)
@click.argument(
    "arguments", nargs=-1, type=click.UNPROCESSED, metavar="[LABEL OR OPTION]..."
)
def _runtests(
    fork: Fork,
    database: str,
    tree: str,
    scope: str | None,
    examples: int | None,
    arguments: tuple[str, ...],
    *,
    optional: bool,
) -> bool:
    """Run Django's runtests.py in a tree, with labels and options of its own."""
    if examples:
        os.environ["TICKET31997_EXAMPLES"] = str(examples)
    try:
        return suite.run(
            fork,
            tree=tree,
            database=database,
            scopes=[scope] if scope else suite.SCOPES,
            arguments=arguments,
        )
    except NoServer as e:
        if not optional:
            raise
        say(f"Skipped: {e}")
        return True


@_on_trees("demo")
@database_option
@save_option
def _demo(fork: Fork, database: str, *, save: bool) -> bool:
    """Run the ticket on both trees and show what happens in a table."""
    from patchkit.demo import demo

    return demo(fork, database, save=save)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the words after the program's name; sys.argv's by default.

    Returns:
        The exit status, as --help tells.
    """
    try:
        with processes.leaving_nothing():
            return commands.main(argv, prog_name=PROGRAM, standalone_mode=False) or 0
    except click.ClickException as e:
        click.echo(f"Error: {e.format_message()}", err=True)
        return e.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return 130
    except OSError as e:
        if e.errno not in NOT_HERE:
            raise
        click.echo(f"Error: {e.filename}: {e.strerror}.", err=True)
        return 2
