"""The command line: python -m patchkit, which the Makefile calls through tox."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from patchkit import (
    KitError,
    checkout,
    databases,
    full,
    processes,
    rebase,
    relative,
    say,
    series,
    shapes,
    statements,
    submit,
    suite,
    wheel,
)
from patchkit.fork import Fork
from patchkit.pull_request import TICKET
from patchkit.servers import NoServer

# What can't be done here, rather than what is wrong with the program.
NOT_HERE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


def _option(name: str, env: str = "", **attributes: Any) -> Callable[..., Any]:
    """Declare an option that has a variable of the Makefile's too, of its own name."""
    variable = env or name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, envvar=variable, show_envvar=True, **attributes)


upstream_option = _option(
    "--upstream",
    metavar="PATH[@REV]",
    help="A clone of Django, which is left as it is, instead of the release.",
)
database_option = _option(
    "--database",
    env="DB",
    type=click.Choice(databases.DATABASES),
    default="sqlite",
    help="Its server is started for the run, unless PGHOST or MYSQL_HOST ... are set.",
)
version_option = _option("--version", default="", help="Of Django, such as 6.1.4.")
save_option = _option("--save", is_flag=True, help="Write the tables into the pages.")


def _on_trees(name: str, **attributes: Any) -> Callable[..., click.Command]:
    """Declare a command that works on both trees, which are made first.

    The function is called with the repository in the place of --upstream.
    """

    def declare(function: Callable[..., bool | None]) -> click.Command:
        @wraps(function)
        def run(upstream: str | None, **options: Any) -> bool | None:
            checkout.make(Fork(), upstream)
            return function(Fork(), **options)

        return commands.command(name, **attributes)(upstream_option(run))

    return declare


@click.group(context_settings={"show_default": True})
def commands() -> None:
    """The commands behind the Makefile.

    The exit status is 0 if all went well, 1 if a check didn't pass, 2 if something
    couldn't be done (one sentence says what), and 130 after Ctrl+C.
    """


@commands.command("checkout")
@upstream_option
def _checkout(upstream: str | None) -> None:
    """Make django-fork/django (patched) and django-fork/base (not patched)."""
    if not checkout.make(Fork(), upstream):
        say("django-fork/django is up to date.")


@commands.command("export")
def _export() -> None:
    """Write the commits in django-fork/django to patches/."""
    for line in series.export(Fork()) or ["patches/ is up to date."]:
        say(line)


@commands.command("clean")
def _clean() -> None:
    """Remove both trees, unless there is work that patches/ lacks."""
    checkout.remove(Fork())


@_on_trees("lint")
def _lint(fork: Fork) -> bool:
    """Run black, isort and flake8 on the files that the series changes."""
    return suite.lint(fork.django)


@_on_trees("prefixes")
def _prefixes(fork: Fork) -> bool:
    """Run the tests that each prefix of the series touches, on SQLite."""
    return suite.prefixes(fork)


@_on_trees("statements")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
def _statements(fork: Fork, paths: tuple[str, ...]) -> bool:
    """Delete each statement that the series adds by itself: a test has to fail.

    Each condition is decided too. PATHs are files such as django/db/transaction.py;
    all by default.
    """
    return statements.check(fork, paths)


@_on_trees("cover")
def _cover(fork: Fork) -> bool:
    """Run the series' own tests and look whether they execute all it adds."""
    return suite.cover(fork)


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
    return shapes.history(fork, save=save)


@_on_trees("bench")
@click.option("--rounds", type=click.IntRange(0), default=6)
@click.option("--fan-out-rounds", type=click.IntRange(0), default=3)
@click.option("--most", type=click.IntRange(1), help="Tasks; all sizes by default.")
@save_option
@_option("--asv", metavar="PATH", help="A clone of django-asv: run its benchmarks.")
def _bench(fork: Fork, asv: str | None, **how: Any) -> None:
    """Measure what the series costs, and what many tasks at once do.

    With --save the pictures in results/ are drawn, too. With --asv the benchmarks of
    django-asv are run instead of ours.
    """
    from benchmarks import compare

    compare.compare(fork, asv, **how)


@commands.command("submit")
@upstream_option
@_option("--base", default="main", help="The branch in the clone to begin at.")
@_option("--disclosure", metavar="WORDS", help="'none', or which AI tools did what.")
@_option("--ticket", default=TICKET, help="If the work got one of its own.")
@_option("--confirm", is_flag=True, help="All statements of the checklist are true.")
@_option("--update", is_flag=True, help="Replace the branch, which is kept as well.")
@_option("--max-age", type=click.IntRange(0), default=30, help="Of the base, in days.")
@_option("--dry-run", is_flag=True, help="Do all but make the branch and the text.")
def _submit(
    upstream: str | None, disclosure: str | None, *, confirm: bool, **options: Any
) -> None:
    """Make a branch with the series in your clone of Django, and the PR's text.

    Its lints and tests have to pass there first. Nothing is pushed. You are asked
    whether the statements of Django's checklist are true, but where there is no
    terminal, or it has been said.
    """
    if not upstream:
        raise KitError("Where is your clone of Django? UPSTREAM=PATH says it.")
    if disclosure is None:
        raise KitError(
            "Django asks whether AI tools were used, and nobody but you can tell: "
            "DISCLOSURE=none, or DISCLOSURE='which ones, and for what'."
        )

    def is_true(statement: str) -> bool:
        # Either is None if it's closed.
        asked = not confirm and all(f and f.isatty() for f in (sys.stdin, sys.stdout))
        return click.confirm(f"Is it true? {statement}") if asked else confirm

    submit.submit(Fork(), upstream, disclosure=disclosure, confirm=is_true, **options)


@commands.command("rebase")
@upstream_option
@version_option
@_option("--sha256", default="", help="Of the release's sdist on PyPI.")
@_option("--abort", is_flag=True, help="Drop a move that has conflicts.")
def _rebase(upstream: str | None, version: str, sha256: str, *, abort: bool) -> None:
    """Move the pin to another release, and the series onto it.

    Or onto a clone of Django. It stops at a conflict, and goes on when called again.
    """
    if abort:
        say("Dropped." if rebase.abort(Fork()) else "There is nothing to drop.")
    elif not (upstream or (version and sha256)):
        raise KitError("Where to? VERSION=6.1.4 SHA256=<of sdist>, or UPSTREAM=PATH.")
    elif not rebase.rebase(Fork(), version, sha256, upstream):
        say("The series applies there as it is.")


@commands.command("wheel")
@version_option
def _wheel(version: str) -> None:
    """Build a wheel of Django with the series, to try it in your own project.

    Of the pinned release, or of another one in base.toml.
    """
    checkout.make(Fork())
    built = relative(wheel.build(Fork(), version))
    say(f"{built}: `pip install` it into the environment of your project.")


@_on_trees("runtests", context_settings={"ignore_unknown_options": True})
@database_option
@click.option("--tree", type=click.Choice(("base", "django")), default="django")
@click.option("--scope", type=click.Choice(suite.SCOPES), help="Both by default.")
@_option("--examples", type=click.IntRange(1), help="How many random schedules to try.")
@click.option("--optional", is_flag=True, help="That there is no server is no error.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[WORD]...")
def _runtests(
    fork: Fork, scope: str | None, examples: int | None, *, optional: bool, **how: Any
) -> bool:
    """Run Django's runtests.py in a tree, with labels and options of its own.

    The tree "base" is without the series. The default labels are those of the tests
    that the series touches and our own.
    """
    if examples:
        os.environ["TICKET31997_EXAMPLES"] = str(examples)
    try:
        return suite.run(fork, scopes=[scope] if scope else suite.SCOPES, **how)
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
    return shapes.demo(fork, database, save=save)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the words after the program's name; sys.argv's by default.

    Returns:
        The exit status, as --help tells.
    """
    try:
        with processes.leaving_nothing():
            passed = commands.main(argv, "python -m patchkit", standalone_mode=False)
            # A command that is no check returns nothing, and --help 0.
            return int(passed is False)
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
