"""Random schedules of tasks that use transactions, and an oracle for them.

A program is a tree of operations. Tasks stop at each of their awaits until the
schedule lets one of them go on, or cancels it, so that a program and a schedule
determine the interleaving: nothing depends on time.

The oracle has two halves. What each party was told of its writes, of its hooks and
by its reads is held against the rows that are there; that works on any tree. The
model says beforehand how each operation ends, refusals and their owners included.
It knows of parties, of the contexts they run in and of the blocks around them, and
nothing of how Django finds those out.

What the language leaves out is documented to be otherwise, or like it was:

- what sync code may do to the block of a suspended task is set_rollback();
- blocks of sync code that overlap without nesting, and what code inside
  isolated_connections() does at once on one connection, are as in unpatched Django;
- raw savepoints, which have no owner, are for all in their transaction. They don't
  overlap, and their end isn't tried from inside another block;
- tasks with one Context for all: what such a task starts while another one is in a
  block inherits the Context, and so can't be told from what that one starts;
- manual transactions of sync code last as long as no task is suspended;
- executescript() commits what is open, also in unpatched Django;
- an iteration isn't continued after a rollback, nor after the end of its block;
- async_to_sync(), whose loops have threads of their own, loops that are closed
  with tasks on them, and SQLite in memory, where close() does nothing.
"""

import asyncio
import contextvars
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from django.core.handlers.asgi import ASGIHandler
from django.db import connections, transaction
from django.db.models import QuerySet
from django.dispatch import Signal
from django.http import HttpResponse

from tests_ticket31997.models import Question
from tests_ticket31997.patience import PATIENCE

try:
    from django.db import isolated_connections
except ImportError:  # The base.
    isolated_connections = nullcontext

ALIASES = ("default", "other")
# A row that is there beforehand.
THERE = "there"
TABLE = Question._meta.db_table
# An instance for each alias that all tasks share.
REUSED = {alias: transaction.atomic(alias) for alias in ALIASES}
BLOCKS = {
    "atomic": transaction.atomic,
    "durable": partial(transaction.atomic, durable=True),
    "no savepoint": partial(transaction.atomic, savepoint=False),
    "one instance": REUSED.__getitem__,
}
WAITS = {
    "await": lambda task: task,
    "gather": asyncio.gather,
    "shield": asyncio.shield,
    "wait_for": partial(asyncio.wait_for, timeout=None),
}


class Op(NamedTuple):
    """An operation.

    Attributes:
        name: a method of Run, "_" for each space, tells what it does.
        how: which variant of it.
        body: the operations in it, or (send, run) a tuple of such bodies.
        alias: that of the connection.
        catch: whether what it raises ends here.
    """

    name: str
    how: str = ""
    body: tuple = ()
    alias: str = "default"
    catch: bool = False

    def __repr__(self) -> str:
        defaults = {**self._field_defaults, "name": None}
        values = [
            f"{name}={value!r}"
            for name, value in self._asdict().items()
            if value != defaults[name]
        ]
        return f"Op({', '.join(values)})"


def orm_rows(alias: str) -> QuerySet:
    return Question.objects.using(alias).values_list("question_text", flat=True)


def cursor_rows(alias: str) -> Iterator[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT question_text FROM {TABLE}")
        for (text,) in cursor:
            yield text


def fetched_rows(alias: str) -> Iterator[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT question_text FROM {TABLE}")
        while row := cursor.fetchone():
            yield row[0]


ITERATIONS = {
    "iterator": lambda alias: orm_rows(alias).iterator(chunk_size=1),
    "cursor": cursor_rows,
    "fetchone": fetched_rows,
}
READS = ITERATIONS | {"orm": orm_rows}


def execute(alias: str, text: str, method: str = "execute") -> None:
    with connections[alias].cursor() as cursor:
        sql = f"INSERT INTO {TABLE} (question_text) VALUES ('{text}')"
        getattr(cursor, method)(sql)


def by_vendor(alias: str, text: str) -> None:
    if connections[alias].vendor != "postgresql":
        is_sqlite = connections[alias].vendor == "sqlite"
        return execute(alias, text, "executescript" if is_sqlite else "execute")
    sql = f"COPY {TABLE} (question_text) FROM STDIN"
    with connections[alias].cursor() as cursor, cursor.copy(sql) as copy:
        copy.write_row((text,))


WRITES = {
    "create": lambda alias, text: Question(question_text=text).save(using=alias),
    "bulk": lambda alias, text: Question.objects.using(alias).bulk_create(
        [Question(question_text=text)]
    ),
    "execute": execute,
    "vendor": by_vendor,
}


class Boom(Exception):
    """Raised by a program."""


class HookBoom(Exception):
    """Raised by a hook: the transaction is committed."""


class Told(Boom):
    """How an operation ended that didn't succeed, in short."""


# What errors begin with.
WORDS = {
    r"The task '([\w-]+)' .* the connection '(\w+)'\. ": "foreign",
    r"An atomic block on the connection '(\w+)' was rolled back": "broken",
    r"Use atomic\(\), as the connection '(\w+)' is shared": "autocommit",
    # Which of these a closed connection raises is up to the database.
    r"An error occurred in the current transaction": "aborted",
    r".*(?:new connection in an atomic block|closed database|is closed)": "aborted",
    r"A durable atomic block cannot be nested": "durable",
    r"The rollback flag doesn't work outside": "unblocked",
    r"on_commit\(\) cannot be used in manual": "manual",
    "hook": "hook",
}
ENDINGS = {"ok", *WORDS.values()}


def in_short(error: Exception) -> str:
    """Return what an error says, with who and where, as the model words it."""
    for regex, word in WORDS.items():
        if match := re.match(regex, str(error)):
            return " ".join((word, *match.groups()))
    return f"{type(error).__name__}: {error}"


@dataclass(eq=False, repr=False)
class Party:
    """Code that runs by itself: a task, a callback, or sync code."""

    # Its task's.
    name: str
    # The blocks that it's in: one list for each Context.
    chain: list["Frame"]
    on_loop: bool = True
    # In isolated_connections(), its own connections by alias.
    isolated: "dict[str, Conn] | None" = None
    ended: bool = False
    timeouts: list[asyncio.Timeout] = field(default_factory=list)

    def own(self, conn: "Conn") -> "Frame | None":
        """Return the innermost block on a connection that it is in."""
        self.chain[:] = [frame for frame in self.chain if not frame.exited]
        return next((f for f in reversed(self.chain) if f.conn is conn), None)

    def is_beside_owner(self) -> bool:
        """Return whether another task with its Context is in a block."""
        owners = {f.owner for f in self.chain if f.live and not f.exited} - {self}
        return any(owner.chain is self.chain for owner in owners)


@dataclass(eq=False, repr=False)
class Frame:
    """A block, a manual transaction, or what follows a raw savepoint."""

    conn: "Conn"
    owner: Party | None
    # The innermost one around it, and the uncommitted rows, when it was entered.
    outer: "Frame | None"
    added: frozenset[str]
    # Can it be rolled back by itself, and is it told if it is broken?
    savepoint: bool = True
    recorded: bool = False
    # Does its code know that what was done inside is rolled back?
    failed: bool = False
    # Was it rolled back while its code was inside?
    broken: bool = False
    exited: bool = False

    @property
    def live(self) -> bool:
        """Whether it has an owner (T1c)."""
        return self.owner is not None and not self.owner.ended

    def holds(self, party: Party) -> bool:
        """Return whether a party is inside, or all are."""
        return not self.live or self.owner is party or self in party.chain


@dataclass(eq=False, repr=False)
class Conn:
    """A connection as the model sees it."""

    alias: str
    # The rows that are committed, and those that aren't.
    database: set[str] = field(default_factory=set)
    added: set[str] = field(default_factory=set)
    # From the outermost one, without those that are broken.
    frames: list[Frame] = field(default_factory=list)
    raws: list[Frame] = field(default_factory=list)
    manual: Frame | None = None
    # The name and kind of hooks that are to run, with the blocks; those that ran.
    hooks: list[tuple[str, str, list[Frame]]] = field(default_factory=list)
    ran: set[str] = field(default_factory=set)
    needs_rollback: bool = False
    # Whether it was closed in a block.
    closed: bool = False
    rollbacks: int = 0

    @property
    def in_transaction(self) -> bool:
        return bool(self.frames or self.manual)

    @property
    def visible(self) -> set[str]:
        return self.database | self.added

    def around(self, party: Party) -> list[Frame]:
        """Return what decides about a write: the own blocks, and shared ones (T5)."""
        frames = [frame for frame in self.frames if frame.holds(party)]
        raws = [raw for raw in self.raws if raw.outer in frames]
        manual = [self.manual] if self.manual and self.manual.holds(party) else []
        return manual + raws + frames

    def refusal(self, party: Party) -> str | None:
        """Return why a party may not use the connection now (T0 to T1c)."""
        if (own := party.own(self)) and own.broken:
            return f"broken {self.alias}"
        frame = next((f for f in reversed(self.frames) if f.live), None)
        if frame is None or frame.owner is party:
            return None
        is_sibling = frame.owner.chain is party.chain
        if party.on_loop and frame in party.chain and not is_sibling:
            return None
        return f"foreign {frame.owner.name} {self.alias}"

    def query(self, party: Party) -> str | None:
        """Return why a query fails."""
        aborted = "aborted" if self.closed or self.needs_rollback else None
        return self.refusal(party) or aborted

    def enter(self, party: Party, how: str, owner: Party | None) -> Frame:
        """Enter a block."""
        if not self.in_transaction:
            self.needs_rollback = False
        savepoint = not self.in_transaction or not (
            how == "no savepoint" or self.needs_rollback
        )
        outer = next(reversed(self.around(party)), None)
        frame = Frame(self, owner, outer, frozenset(self.added), savepoint)
        if party.isolated is None:
            frame.recorded = party.on_loop or any(f.recorded for f in self.frames)
        if frame.recorded:
            party.chain.append(frame)
        self.frames.append(frame)
        return frame

    def exit(self, frame: Frame, failed: bool) -> str | None:
        """End a block (T3, T3a, T5), and return what it raises."""
        if frame.broken:
            return None if failed else f"broken {self.alias}"
        number = self.frames.index(frame)
        above = self.frames[number + 1 :]
        del self.frames[number:]
        self.raws = [raw for raw in self.raws if raw.outer in self.frames]
        told = above or (self.closed and frame.recorded)
        for inner in above:
            inner.broken = True
        if self.closed:
            self.needs_rollback = self.closed = bool(self.frames)
            self.hooks = []
        elif failed or above or self.needs_rollback:
            self.roll_back(frame)
        elif not self.in_transaction:
            return self.commit()
        return f"broken {self.alias}" if told and not failed else None

    def roll_back(self, frame: Frame) -> None:
        """Roll back what was done inside a block that has ended."""
        self.rollbacks += 1
        self.needs_rollback = not frame.savepoint
        if frame.savepoint:
            self.added = set(frame.added)
            self.hooks = [hook for hook in self.hooks if frame not in hook[2]]

    def commit(self) -> str | None:
        """Commit, run the hooks, and return what those raise."""
        self.database |= self.added
        self.added, self.needs_rollback = set(), False
        hooks, self.hooks = self.hooks, []
        for name, how, _ in hooks:
            self.ran.add(name)
            if how == "fails":
                return "hook"
        return None

    def close(self, party: Party) -> None:
        """Close it (T7)."""
        own = party.own(self)
        if not (party.on_loop and own):
            for frame in self.frames:
                frame.broken = frame.recorded
            self.frames = [frame for frame in self.frames if not frame.broken]
            party.chain[:] = [f for f in party.chain if f.conn is not self]
        self.rollbacks += 1
        self.raws, self.added, self.hooks = [], set(), []
        self.needs_rollback = self.closed = bool(self.frames)


class View(ASGIHandler):
    """Answers requests by a coroutine function, without middleware."""

    def __init__(self, view: Callable[[], Coroutine]) -> None:
        self.view = view

    async def get_response_async(self, request):
        await self.view()
        return HttpResponse()


@dataclass(frozen=True)
class Verdict:
    """What the oracle says of a run.

    Attributes:
        lost: acknowledged writes that are missing, hooks that didn't run.
        phantom: rolled-back writes that are present, hooks that did run.
        dirty: reads of what another task hadn't committed.
        wrong: what isn't as the model says, and what is left on a connection.
        endings: the kinds of ENDINGS that operations came to, as expected.
        steps: between how many tasks the schedule could choose, and which it took.
    """

    lost: frozenset[str]
    phantom: frozenset[str]
    dirty: tuple[str, ...]
    wrong: tuple[str, ...]
    endings: frozenset[str]
    steps: tuple[tuple[int, int], ...]

    @property
    def loses(self) -> bool:
        """Whether somebody was told what isn't so."""
        return bool(self.lost or self.phantom or self.dirty)


class Run:
    """The running of a program."""

    def __init__(self, schedule: list[tuple[int, str]], strict: bool) -> None:
        """Initialize.

        Args:
            schedule: see run().
            strict: whether the model has a say.
        """
        self.schedule = iter(schedule)
        self.strict = strict
        self.conns = {alias: Conn(alias, {THERE}) for alias in ALIASES}
        self.loop = asyncio.new_event_loop()
        self.sync = Party("", [], on_loop=False)
        # Tasks that haven't ended, and the futures of those that can go on.
        self.tasks: dict[Party, asyncio.Task] = {}
        self.waiting: dict[Party, asyncio.Future] = {}
        self.writes: dict[str, list[Frame]] = {}
        self.opened: list[tuple] = []
        # Hooks; and whether one that failed has dropped those after it.
        self.ran: set[str] = set()
        self.hooks: set[str] = set()
        self.drops = False
        self.exiting = self.sync
        self.common: tuple[contextvars.Context, list] = (contextvars.Context(), [])
        # The chains of Contexts that several tasks are started in.
        self.shared = [self.common[1]]
        self.names = (str(number) for number in range(10_000))
        # Requests that wait for threads, and iterations.
        self.busy = self.iterating = 0
        self.dirty: list[str] = []
        self.wrong: list[str] = []
        self.endings: set[str] = set()
        self.steps: list[tuple[int, int]] = []

    def attempt(self, expected: str | None, function: Callable, *args):
        """Call a function, and see whether it ends as expected.

        Raises:
            Told: it raised an error.
        """
        told = None
        try:
            return function(*args)
        except Exception as e:
            told = in_short(e)
            raise Told(told) from None
        finally:
            if told == expected:
                self.endings.add(told.partition(" ")[0] if told else "ok")
            elif self.strict:
                self.wrong.append(f"{told} instead of {expected}")

    def conn(self, party: Party, alias: str) -> Conn:
        conn = self.conns[alias]
        if party.isolated is None or not self.strict:
            return conn
        new = Conn(alias, conn.database, ran=conn.ran)
        return party.isolated.setdefault(alias, new)

    def locks(self, party: Party) -> bool:
        """Return whether SQLite has others wait for a connection of its own."""
        conns = [conn for conn in (party.isolated or {}).values() if conn.frames]
        return any(connections[conn.alias].vendor == "sqlite" for conn in conns)

    def would_lock(self, party: Party, alias: str) -> bool:
        """Return whether SQLite would have that wait for others."""
        is_isolated = self.strict and party.isolated is not None
        is_open = self.conns[alias].in_transaction or self.iterating
        return is_isolated and is_open and connections[alias].vendor == "sqlite"

    def spawn(
        self, parent: Party, body: tuple, how: str = "", create=None, conn=None
    ) -> asyncio.Task:
        """Start a task, outside of the blocks on a connection if one is given."""
        chain = [frame for frame in parent.chain if frame.conn is not conn]
        context = None
        if how == "new context":
            chain, context = [], contextvars.Context()
        elif how == "one context":
            context, chain = self.common
        elif how == "own context" and parent in self.tasks:
            chain, context = parent.chain, self.tasks[parent].get_context()
        party = Party(f"t{next(self.names)}", chain)
        if create is None:
            create = partial(asyncio.Task, loop=self.loop, eager_start=how == "eager")
        task = create(self.life(party, body, how), name=party.name, context=context)
        if not party.ended:
            self.tasks[party] = task
        return task

    def may_start(self, party: Party) -> bool:
        """Return whether the language has a party start others."""
        is_beside = party.is_beside_owner()
        return party.on_loop and party.isolated is None and not is_beside

    async def life(self, party: Party, body: tuple, how: str = "") -> None:
        """Run a task's operations; what they raise ends the task only."""
        self.tasks[party] = asyncio.current_task()
        try:
            if how == "request":
                await self.request(party, body)
            else:
                await self.execute(party, body)
        except (Boom, asyncio.CancelledError):
            pass
        finally:
            party.ended = True
            del self.tasks[party]

    async def execute(self, party: Party, body: tuple) -> None:
        """Run operations, each with the method of its name."""
        for op in body:
            try:
                await getattr(self, op.name.replace(" ", "_"))(party, op)
            except Boom:
                if not op.catch:
                    raise

    def drive(self, party: Party, body: tuple) -> None:
        """Run operations of code that can't await."""
        try:
            self.execute(party, body).send(None)
        except (Boom, StopIteration):
            return
        raise AssertionError("It awaited.")

    async def write(self, party: Party, op: Op) -> None:
        """Insert a row."""
        if self.would_lock(party, op.alias):
            return
        conn, how = self.conn(party, op.alias), op.how
        expected, around, name = conn.query(party), conn.around(party), next(self.names)
        vendor = connections[op.alias].vendor if how == "vendor" else None
        if vendor == "sqlite":
            how = "execute" if around else how
        elif vendor == "postgresql" and expected == "aborted" and not conn.closed:
            # Django doesn't know of COPY.
            expected = None
        elif how == "bulk" and conn.closed:
            # On SQLite it asks the driver for a limit before anything else.
            how = "create"
        self.attempt(expected, WRITES[how], op.alias, name)
        self.writes[name] = around
        (conn.added if conn.in_transaction else conn.database).add(name)

    def see(self, party: Party, rows: set[str], allowed: set[str]) -> None:
        """Note rows that can't be there, or are of another task's open block."""
        if self.strict and not rows <= allowed:
            self.wrong.append(f"read {rows} instead of {allowed}")
        for name in rows & self.writes.keys():
            for frame in self.writes[name]:
                if not (frame.exited or frame.broken or frame.holds(party)):
                    self.dirty.append(name)

    async def read(self, party: Party, op: Op) -> None:
        """Read all rows."""
        if self.would_lock(party, op.alias):
            return
        conn = self.conn(party, op.alias)
        expected, rows = conn.query(party), READS[op.how]
        found = self.attempt(expected, lambda: {*rows(op.alias)})
        self.see(party, found, conn.visible)
        if self.strict and len(found) < len(conn.visible):
            self.wrong.append(f"{found} instead of {conn.visible}")

    async def iterate(self, party: Party, op: Op) -> None:
        """Read a row, run the body, and read another row."""
        conn = self.conn(party, op.alias)
        if party.isolated is not None:
            return await self.execute(party, op.body)
        visible, rollbacks = conn.visible, conn.rollbacks
        innermost = conn.frames[-1:]
        self.iterating += 1
        try:
            with closing(ITERATIONS[op.how](op.alias)) as rows:
                row = self.attempt(conn.query(party), next, rows, None)
                self.see(party, {row} - {None}, visible)
                await self.execute(party, op.body)
                is_there = all(frame in conn.frames for frame in innermost)
                is_there &= conn.rollbacks == rollbacks
                if row and (is_there or not self.strict):
                    row = self.attempt(conn.refusal(party), next, rows, None)
                    self.see(party, {row} - {None}, visible | conn.visible)
        finally:
            self.iterating -= 1

    async def wait(self, party: Party, op: Op) -> None:
        """Stop until the schedule goes on."""
        if party not in self.tasks or self.locks(party):
            return
        self.waiting[party] = self.loop.create_future()
        try:
            await self.waiting[party]
        finally:
            self.waiting.pop(party, None)

    async def fail(self, party: Party, op: Op) -> None:
        """Raise Boom."""
        raise Boom

    async def set_rollback(self, party: Party, op: Op) -> None:
        """Mark the innermost block for rollback."""
        conn = self.conn(party, op.alias)
        expected = conn.refusal(party)
        if self.strict and expected and not party.on_loop:
            return
        expected = expected or (None if conn.frames else "unblocked")
        self.attempt(expected, transaction.set_rollback, True, op.alias)
        conn.needs_rollback = True
        for frame in conn.around(party)[-1:]:
            frame.failed = True

    async def on_commit(self, party: Party, op: Op) -> None:
        """Have a hook that may fail, start an eager task, or enter a block."""
        conn, name = self.conn(party, op.alias), next(self.names)
        manual = "manual" if conn.manual and not conn.frames else None
        expected = conn.refusal(party) or manual

        def hook():
            self.ran.add(name)
            self.drops |= op.how == "fails"
            if "fails" in op.how:
                raise HookBoom("hook")
            if op.how == "eager" and self.may_start(self.exiting):
                self.spawn(self.exiting, op.body, "eager", conn=conn)
            if op.how == "opens":
                self.drive(self.exiting, (Op("open", "atomic", alias=op.alias),))

        # The end of a raw savepoint doesn't concern hooks.
        around = [frame for frame in conn.around(party) if frame not in conn.raws]
        frames = [frame for frame in conn.frames if frame.savepoint]
        if not expected:
            conn.hooks.append((name, op.how, frames))
            if not conn.frames:
                # It runs at once.
                expected = conn.commit()
        exiting, self.exiting = self.exiting, party
        robust = "robust" in op.how
        try:
            self.attempt(expected, transaction.on_commit, hook, op.alias, robust)
        finally:
            self.exiting = exiting
            if not expected or name in self.ran:
                self.writes[name] = around
                self.hooks.add(name)

    async def close(self, party: Party, op: Op) -> None:
        """Close the connection, or let housekeeping do it."""
        conn, connection = self.conn(party, op.alias), connections[op.alias]
        refusal, around = conn.refusal(party), conn.around(party)
        if self.strict and (conn.manual or self.iterating):
            return
        if op.how == "old":
            self.attempt(None, connection.close_if_unusable_or_obsolete)
            if refusal:
                return
        else:
            self.attempt(refusal if party.on_loop else None, connection.close)
        for frame in around:
            frame.failed = True
        if self.strict:
            conn.close(party)

    def enter(self, party: Party, op: Op) -> tuple[Frame, transaction.Atomic]:
        """Enter a block, whose owner is its task (T0)."""
        conn = self.conn(party, op.alias)
        how = op.how
        if conn.manual and not conn.frames and how == "no savepoint":
            how = "atomic"
        durable = "durable" if how == "durable" and conn.frames else None
        block = BLOCKS[how](op.alias)
        self.attempt(conn.refusal(party) or durable, block.__enter__)
        is_task = party.isolated is None and party in self.tasks
        return conn.enter(party, how, party if is_task else None), block

    def leave(self, party: Party, frame: Frame, block, error) -> None:
        """End a block."""
        expected = None
        if self.strict:
            expected = frame.conn.exit(frame, error is not None)
        else:
            frame.conn.frames.remove(frame)
            frame.conn.needs_rollback = False
        frame.exited = True
        exiting, self.exiting = self.exiting, party
        try:
            info = (type(error), error, None) if error else (None, None, None)
            self.attempt(expected, block.__exit__, *info)
            frame.failed |= error is not None
        except Told as e:
            frame.failed |= str(e) != "hook"
            raise
        finally:
            self.exiting = exiting
            if frame.failed and not frame.savepoint and frame.outer:
                frame.outer.failed = True

    async def block(self, party: Party, op: Op) -> None:
        """Run the body in an atomic block."""
        frame, block = self.enter(party, op)
        error = None
        try:
            await self.execute(party, op.body)
        except (Boom, asyncio.CancelledError) as e:
            error = e
        self.leave(party, frame, block, error)
        if error:
            raise error

    async def open(self, party: Party, op: Op) -> None:
        """Enter a block that whoever comes ends, as with a late generator."""
        is_manual = self.strict and self.conns[op.alias].manual
        if party.on_loop and party.isolated is None and not is_manual:
            self.opened.append(self.enter(party, op))

    async def end(self, party: Party, op: Op) -> None:
        """End the oldest of those blocks."""
        if self.opened and not self.locks(party):
            self.leave(party, *self.opened.pop(0), Boom() if op.how == "fail" else None)

    async def savepoint(self, party: Party, op: Op) -> None:
        """Run the body after a raw savepoint, and release it or roll it back."""
        conn = self.conn(party, op.alias)
        if self.strict and (not conn.frames or conn.raws):
            return await self.execute(party, op.body)
        create = partial(transaction.savepoint_create, op.alias)
        sid = self.attempt(conn.query(party), create)
        outer = next(reversed(conn.around(party)), None)
        raw = Frame(conn, None, outer, frozenset(conn.added))
        conn.raws.append(raw)
        await self.execute(party, op.body)
        if self.strict and (raw not in conn.raws or conn.frames[-1] is not outer):
            return
        end = getattr(transaction, f"savepoint_{op.how}")
        self.attempt(conn.query(party), end, sid, op.alias)
        conn.raws = [other for other in conn.raws if other is not raw]
        if op.how == "rollback":
            raw.failed = True
            conn.added = set(raw.added)
            conn.rollbacks += 1

    async def manual(self, party: Party, op: Op) -> None:
        """Run the body with autocommit off, which code on a loop can't (T1e)."""
        conn, connection = self.conn(party, op.alias), connections[op.alias]
        if self.strict and party.isolated is not None:
            return
        is_busy = self.tasks or conn.in_transaction or party.own(conn)
        if self.strict and not party.on_loop and is_busy:
            return await self.execute(party, op.body)
        expected = f"autocommit {op.alias}" if party.on_loop else None
        self.attempt(expected, transaction.set_autocommit, False, op.alias)
        owner = party if party.on_loop else None
        conn.manual = manual = Frame(conn, owner, None, frozenset())
        try:
            # On SQLite this begins it.
            await self.write(party, op._replace(how="create"))
            await self.execute(party, op.body)
        finally:
            conn.manual = None
            manual.exited = True
            manual.failed = op.how == "rollback"
            self.attempt(None, getattr(connection, op.how))
            expected = conn.commit() if op.how == "commit" else conn.roll_back(manual)
            if op.how == "rollback":
                conn.hooks = []
            self.attempt(expected, transaction.set_autocommit, True, op.alias)

    async def start(self, party: Party, op: Op) -> None:
        """Start a task and maybe wait for it."""
        if not self.may_start(party):
            return
        if op.how == "group" and party in self.tasks:
            async with asyncio.TaskGroup() as group:
                self.spawn(party, op.body, create=group.create_task)
            return
        task = self.spawn(party, op.body, op.how)
        if op.how in WAITS and party in self.tasks:
            await WAITS[op.how](task)

    async def send(self, party: Party, op: Op) -> None:
        """Send a signal to a receiver for each of the bodies."""
        if party not in self.tasks or not self.may_start(party):
            return
        chain = [*party.chain]
        self.shared.append(chain)

        def receiver(body):
            async def receive(**kwargs):
                await self.life(Party(asyncio.current_task().get_name(), chain), body)

            return receive

        signal = Signal()
        for body in op.body:
            signal.connect(receiver(body), weak=False)
        try:
            await signal.asend(None)
        finally:
            # They run in one Context, which is then the sender's.
            party.chain[:] = chain

    async def timeout(self, party: Party, op: Op) -> None:
        """Run the body until the schedule has it time out."""
        if party not in self.tasks:
            return await self.execute(party, op.body)
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as timeout:
                party.timeouts.append(timeout)
                try:
                    await self.execute(party, op.body)
                finally:
                    party.timeouts.remove(timeout)

    async def call(self, party: Party, op: Op) -> None:
        """Run the body in a callback, or as a greenlet's code beside the loop."""
        if not self.may_start(party):
            return
        is_new = op.how.endswith("new context")
        context = contextvars.Context() if is_new else contextvars.copy_context()
        other = Party("", [] if is_new else [*party.chain])
        if op.how.startswith("soon"):
            self.loop.call_soon(self.drive, other, op.body, context=context)
        else:
            context.run(self.drive, other, op.body)

    async def isolated(self, party: Party, op: Op) -> None:
        """Run the body in isolated_connections(), or in an ASGI request."""
        if not party.on_loop or party.isolated is not None:
            return await self.execute(party, op.body)
        if op.how == "request":
            if not party.is_beside_owner():
                self.spawn(party, op.body, "request")
            return
        others = [p.chain for p in self.tasks if p is not party]
        if any(chain is party.chain for chain in (*others, *self.shared)):
            return await self.execute(party, op.body)
        with isolated_connections():
            await self.isolate(party, op.body)

    async def isolate(self, party: Party, body: tuple) -> None:
        party.isolated = {}
        try:
            await self.execute(party, body)
        finally:
            party.isolated = None
            if self.strict:
                for connection in connections.all(initialized_only=True):
                    connection.close()
                    del connections[connection.alias]

    async def request(self, party: Party, body: tuple) -> None:
        async def view():
            self.busy -= 1
            try:
                with suppress(Boom):
                    await self.isolate(party, body)
            finally:
                self.busy += 1

        messages = iter([{"type": "http.request"}])

        async def receive():
            return next(messages, None) or await self.loop.create_future()

        async def send(message):
            pass

        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        self.busy += 1
        try:
            await View(view)(scope | {"query_string": b""}, receive, send)
        finally:
            self.busy -= 1

    async def run(self, party: Party, op: Op) -> None:
        """Start a task for each of the bodies, and run the loop."""
        if not party.on_loop:
            is_manual = any(conn.manual for conn in self.conns.values())
            is_last = op.how == "to the end" or is_manual
            self.loop.run_until_complete(self.advance(party, op.body, is_last))

    async def advance(self, party: Party, bodies: tuple, is_last: bool) -> None:
        for body in bodies:
            self.spawn(party, body)
        await self.settle()
        while self.tasks:
            number, action = next(self.schedule, (0, "go on"))
            if action == "pause" and not is_last:
                return
            parties = [*(self.tasks if action == "cancel" else self.waiting)]
            if not parties:
                self.wrong.append("No task can go on.")
                return
            number %= len(parties)
            self.steps.append((number, len(parties)))
            chosen = parties[number]
            if action == "cancel" and chosen.timeouts:
                chosen.timeouts[-1].reschedule(0)
            elif action == "cancel":
                self.tasks[chosen].cancel()
            else:
                self.waiting.pop(chosen).set_result(None)
            await self.settle()

    async def settle(self) -> None:
        """Let every task run until it stops at an await or has ended."""
        deadline = time.monotonic() + PATIENCE
        await asyncio.sleep(0)
        # Counting rounds, which is the public way, takes most of the time.
        while self.loop._ready or self.busy:
            await asyncio.sleep(0)
            if self.busy and time.monotonic() > deadline:
                raise TimeoutError(f"A request still runs after {PATIENCE} seconds.")

    def end_all(self) -> None:
        """Let all that is open come to its end, in sync code."""
        self.drive(self.sync, (Op("run", "to the end", catch=True),))
        while self.opened:
            self.drive(self.sync, (Op("end", catch=True),))
        self.loop.close()


def clean(alias: str) -> Iterator[str]:
    """Yield what is wrong with a connection, after which it's closed."""
    connection = connections[alias]
    state = {
        "autocommit": not connection.get_autocommit(),
        "closed_in_transaction": connection.closed_in_transaction,
    }
    names = "in_atomic_block atomic_blocks savepoint_ids run_on_commit open_block"
    state |= {name: getattr(connection, name, None) for name in names.split()}
    wrong = [name for name, value in state.items() if value]
    yield from (f"{name} of {alias}" for name in wrong)
    if wrong:
        connection.close()
        connection.connection = None


def run(
    program: tuple, schedule: list[tuple[int, str]], *, strict: bool = True
) -> Verdict:
    """Run a program by a schedule and ask the oracle.

    Args:
        program: the operations of sync code, with loops in it. The only row that
            isn't of an earlier program has to be THERE, on each connection.
        schedule: for each step a number, modulo the tasks there are, and what
            happens to that task: "go on" (after a wait), "cancel" (or time out), or
            "pause", where the loop stops and sync code goes on. After its end, tasks
            go on in order.
        strict: whether the model has a say, as it has where connections are shared
            with care.

    Returns:
        The verdict. The connections are clean afterwards in any case.
    """
    for alias in ALIASES:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"DELETE FROM {TABLE} WHERE question_text <> '{THERE}'")
    state = Run(schedule, strict)
    try:
        state.drive(state.sync, program)
        state.end_all()
    finally:
        unclean = [wrong for alias in ALIASES for wrong in clean(alias)]
    present = set(state.ran)
    for alias, conn in state.conns.items():
        rows = set(cursor_rows(alias))
        present |= rows
        if strict and rows != conn.database:
            state.wrong.append(f"{rows} are in {alias} instead of {conn.database}")
    ran = set().union(*(conn.ran for conn in state.conns.values()))
    if strict and ran != state.ran:
        state.wrong.append(f"the hooks {state.ran} ran instead of {ran}")
    # What a hook that fails has dropped wasn't lost.
    skipped = state.hooks - state.ran if state.drops else set()
    told = {
        name
        for name, around in state.writes.items()
        if not any(frame.failed for frame in around)
    }
    return Verdict(
        frozenset(told - present - skipped),
        frozenset(state.writes.keys() - told & present),
        tuple(state.dirty),
        (*state.wrong, *unclean) if strict else (),
        frozenset(state.endings),
        tuple(state.steps),
    )
