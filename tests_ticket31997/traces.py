"""Who gets which connection in random programs, on whatever Django there is.

With the "context" scope the traces have to be those of unpatched Django:
patchkit/tests/test_context.py compares them.
"""

import argparse
import asyncio
import contextvars
import copy
import faulthandler
import inspect
import json
import logging
import os
import re
import sys
import threading
import types
import unittest
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

import asgiref.sync
import django
from asgiref.local import Local
from asgiref.sync import AsyncToSync, SyncToAsync, async_to_sync, sync_to_async
from django.conf import global_settings, settings
from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import atomic
from django.db.utils import ConnectionHandler
from django.utils.connection import ConnectionProxy

from tests_ticket31997.patience import PATIENCE
from tests_ticket31997.programs import (
    ALIASES,
    Body,
    ContextName,
    Generator,
    Op,
    Program,
)

SCOPE = "DATABASE_CONNECTION_SCOPE"
DATABASES = {
    # In memory, but Django doesn't see it, so that it closes the connections.
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file::memory:"},
    "other": {"ENGINE": "django.db.backends.dummy"},
}
STORAGES = {
    "threading.local": threading.local,
    "Local": Local,
    "critical Local": lambda: Local(thread_critical=True),
    "namespace": types.SimpleNamespace,
}


class UncriticalHandler(ConnectionHandler):
    thread_critical = False


class WorkaroundHandler(ConnectionHandler):
    def __init__(self, settings=None):
        super().__init__(settings)
        self._connections = threading.local()


HANDLERS = {
    "global": lambda databases: connections,
    "configured": ConnectionHandler,
    "unconfigured": ConnectionHandler,
    "uncritical": UncriticalHandler,
    "workaround": WorkaroundHandler,
}


class TaggedStorage:
    """What the series had once, with a bug that the comparison has to find.

    async_to_sync() copies context variables back to its caller, and identifiers of
    threads are used again: a loop got the connections of a dead thread's.
    """

    def __init__(self):
        vars(self).update(thread=threading.local())
        vars(self).update(context=contextvars.ContextVar("connections"))

    def _get(self) -> dict[str, BaseDatabaseWrapper]:
        if asyncio._get_running_loop() is None:
            return vars(self.thread)
        ident, values = self.context.get((None, {}))
        return values if ident == threading.get_ident() else {}

    def _get_for_change(self) -> dict[str, BaseDatabaseWrapper]:
        values = self._get()
        if values is not vars(self.thread):
            values = values.copy()
            self.context.set((threading.get_ident(), values))
        return values

    def __getattr__(self, alias: str) -> BaseDatabaseWrapper:
        try:
            return self._get()[alias]
        except KeyError:
            raise AttributeError(alias) from None

    def __setattr__(self, alias: str, connection: BaseDatabaseWrapper) -> None:
        self._get_for_change()[alias] = connection

    def __delattr__(self, alias: str) -> None:
        getattr(self, alias)
        del self._get_for_change()[alias]


class Workers(ThreadPoolExecutor):
    """Takes threads by turns, where its base depends on which are idle yet."""

    def __init__(self):
        super().__init__()
        self.threads: list[ThreadPoolExecutor] = []
        self.idle: list[ThreadPoolExecutor] = []

    def submit(self, fn: Callable, /, *args: object, **kwargs: object) -> Future:
        """Run a function in a thread."""
        if not self.idle:
            self.threads.append(ThreadPoolExecutor(max_workers=1))
            self.idle.append(self.threads[-1])
        thread = self.idle.pop()

        def run() -> object:
            try:
                return fn(*args, **kwargs)
            finally:
                self.idle.append(thread)

        return thread.submit(run)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads."""
        for thread in self.threads:
            thread.shutdown(wait)


async def main_wrap(self, call_result: Future, *args: object) -> None:
    """Wake the caller of async_to_sync() when all is there for it.

    asgiref's own does so before it copies the context, which the caller then
    misses now and then.
    """
    result: Future = Future()
    await original_main_wrap(self, result, *args)
    call_result.set_result(result.result())


original_main_wrap = AsyncToSync.main_wrap
AsyncToSync.main_wrap = main_wrap


class Run:
    """The running of a program.

    The methods do_<name> do the operations. Those of operations with others in them
    are given the operation, what the numbers of the others begin with, and the lock
    that the tasks of the event loop take turns by.

    Attributes:
        trace: a line for each operation that has something to tell.
        made: all connections, in the order that they were made in.
    """

    def __init__(self, program: Program, storage: Callable | None = None):
        self.program = program
        self.trace: list[str] = []
        self.handler = HANDLERS[program.handler](copy.deepcopy(DATABASES))
        self.original = self.handler._connections
        # The workaround replaces whatever the series has.
        if storage and program.handler != "workaround":
            self.handler._connections = storage()
        self.storage = self.handler._connections
        self.create_connection = self.handler.create_connection
        self.handler.create_connection = self.new
        self.made: list[BaseDatabaseWrapper] = []
        self.workers: dict[asyncio.AbstractEventLoop, Workers] = {}
        self.contexts: list[contextvars.Context] = []

    def __call__(self) -> list[str]:
        """Run the program and return the trace."""
        os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)
        if self.program.unsafe:
            os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        # asgiref keeps its thread for good, and django.db.connections what is in it.
        SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)
        # A standstill ends the process and says where it is.
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            self.thread(self.main)
        finally:
            faulthandler.cancel_dump_traceback_later()
            SyncToAsync.single_thread_executor.shutdown()
            self.handler._connections = self.original
            del self.handler.create_connection
            for connection in self.made:
                if connection.connection is not None:
                    connection.connection.close()
        return self.trace

    def main(self) -> None:
        """Run the operations."""
        self.contexts += [contextvars.copy_context(), contextvars.Context()]
        self.sync(self.program.body, "")

    def thread(self, function: Callable, *args: object) -> None:
        """Run a function in a thread of its own."""
        thread = threading.Thread(target=function, args=args)
        thread.start()
        thread.join()

    def sync(self, body: Body, path: str) -> None:
        """Do operations in synchronous code."""
        for number, op in enumerate(body):
            where = f"{path}{number}"
            try:
                result = self.do(op, where)
            except Exception as e:
                result = e
            self.note(where, op, result)

    async def coroutine(
        self, body: Body, path: str, turn: asyncio.Lock | None = None
    ) -> None:
        """Do operations in a coroutine."""
        for number, op in enumerate(body):
            where = f"{path}{number}"
            try:
                result = self.do(op, where, turn)
                if inspect.iscoroutine(result):
                    result = await result
            except Exception as e:
                result = e
            self.note(where, op, result)

    def do(self, op: Op, where: str, turn: asyncio.Lock | None = None) -> object:
        """Do an operation or return a coroutine that does it."""
        method = getattr(self, f"do_{op.name}")
        if op.name == "pause":
            return method(turn)
        return method(op, f"{where}.", turn) if op.bodies else method(*op.args)

    def note(self, where: str, op: Op, result: object) -> None:
        """Write a line of the trace."""
        if isinstance(result, Exception):
            result = f"{type(result).__name__}: {result}"
        if result is not None:
            # Without addresses and the identifiers of threads.
            text = re.sub(r"0x[0-9a-f]+|\d{5,}", "*", f"{op} -> {result}")
            self.trace.append(f"{where} {text}")

    def new(self, alias: str) -> BaseDatabaseWrapper:
        """Make a connection, in the place of the handler's method."""
        connection = self.create_connection(alias)
        # Otherwise it compares the identifiers of threads.
        connection.inc_thread_sharing()
        self.made.append(connection)
        return connection

    def name(self, *some: BaseDatabaseWrapper) -> str:
        """Name connections by when they were made."""
        return " ".join(f"#{self.made.index(c)}" for c in some) or "none"

    def opened(self) -> str:
        """Name the connections that are open."""
        return self.name(*[c for c in self.made if c.connection is not None])

    def connection(self, alias: str, source: object) -> BaseDatabaseWrapper:
        """Return a new connection, or one that there is if there are any."""
        if source == "new" or not self.made:
            return self.new(alias if alias in DATABASES else "default")
        return self.made[source % len(self.made)]

    def context(self, name: ContextName) -> contextvars.Context | None:
        """Return the Context that an operation wants."""
        match name:
            case "copy":
                return contextvars.copy_context()
            case "new":
                return contextvars.Context()
            case "own":
                return asyncio.current_task().get_context()
            case None:
                return None
        return self.contexts[name]

    # Lookups

    def do_get(self, alias):
        return self.name(self.handler[alias])

    def do_proxy(self, alias):
        # A bound method tells whose it is.
        return self.name(ConnectionProxy(self.handler, alias).close.__self__)

    def do_set(self, alias, source):
        self.handler[alias] = connection = self.connection(alias, source)
        return self.name(connection)

    def do_delete(self, alias):
        del self.handler[alias]
        return "done"

    def do_initialized(self):
        return self.name(*self.handler.all(initialized_only=True))

    def do_all(self):
        return self.name(*self.handler.all())

    def do_open(self, alias):
        connection = self.handler[alias]
        connection.ensure_connection()
        return f"{self.name(connection)}, open: {self.opened()}"

    def do_close(self, alias):
        self.handler[alias].close()
        return f"open: {self.opened()}"

    def do_close_all(self):
        self.handler.close_all()
        return f"open: {self.opened()}"

    def do_close_old(self):
        close_old_connections()
        return f"open: {self.opened()}"

    def do_storage_get(self, alias):
        return self.name(getattr(self.handler._connections, alias))

    def do_storage_has(self):
        return [a for a in ALIASES if hasattr(self.handler._connections, a)]

    def do_storage_set(self, alias, source):
        connection = self.connection(alias, source)
        setattr(self.handler._connections, alias, connection)
        return self.name(connection)

    def do_storage_delete(self, alias):
        delattr(self.handler._connections, alias)
        return "done"

    def do_storage_vars(self):
        storage = self.handler._connections
        return [a for a in ALIASES if a in vars(storage) or a in storage.__dict__]

    def do_storage_ref(self):
        storage = self.handler._connections
        return weakref.ref(storage)() is storage

    def do_swap(self, storage):
        self.handler._connections = STORAGES[storage]()
        return "done"

    def do_restore(self):
        self.handler._connections = self.storage
        return "done"

    # Transactions

    def do_query(self, alias):
        connection = self.handler[alias]
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return f"{self.name(connection)}: {cursor.fetchone()}"

    def do_state(self, alias):
        c = self.handler[alias]
        blocks = len(c.atomic_blocks), c.savepoint_ids
        flags = c.in_atomic_block, c.needs_rollback, c.autocommit
        return f"{self.name(c)}: {blocks} {flags}"

    def do_autocommit(self, alias, autocommit):
        connection = self.handler[alias]
        connection.set_autocommit(autocommit)
        return self.name(connection)

    def do_atomic(self, op, path, turn):
        with atomic(op.args[0]):
            self.sync(op.bodies[0], f"{path}0.")

    async def do_atomic_await(self, op, path, turn):
        with atomic(op.args[0]):
            await self.coroutine(op.bodies[0], f"{path}0.", turn)

    # In whatever code

    def do_thread(self, op, path, turn):
        self.thread(self.context(*op.args).run, self.sync, op.bodies[0], f"{path}0.")

    def do_enter(self, op, path, turn):
        self.context(*op.args).run(self.sync, op.bodies[0], f"{path}0.")

    # In synchronous code

    def do_run(self, op, path, turn):
        coroutine = self.coroutine(op.bodies[0], f"{path}0.")
        try:
            asyncio.run(coroutine)
        finally:
            # Where a loop runs it wasn't started.
            coroutine.close()

    def do_runner(self, op, path, turn):
        context = self.context(*op.args)
        with asyncio.Runner() as runner:
            for number, body in enumerate(op.bodies):
                runner.run(self.coroutine(body, f"{path}{number}."), context=context)

    def do_async_to_sync(self, op, path, turn):
        (force_new_loop,) = op.args
        function = async_to_sync(self.coroutine, force_new_loop=force_new_loop)
        function(op.bodies[0], f"{path}0.")

    def do_row(self, op, path, turn):
        force_new_loop, single = op.args
        function = async_to_sync(self.coroutine, force_new_loop=force_new_loop)
        # asgiref 3.9 doesn't have it.
        context = getattr(asgiref.sync, "AsyncSingleThreadContext", nullcontext)
        with context() if single else nullcontext():
            for number in range(8):
                function(op.bodies[0], f"{path}0({number}).")

    def do_case(self, op, path, turn):
        run = self

        class Case(unittest.IsolatedAsyncioTestCase):
            def setUp(self):
                run.sync(op.bodies[0], f"{path}0.")

            async def asyncSetUp(self):
                await run.coroutine(op.bodies[1], f"{path}1.")
                self.addAsyncCleanup(run.coroutine, op.bodies[2], f"{path}2.")

            async def test(self):
                await run.coroutine(op.bodies[3], f"{path}3.")

        result = unittest.TestResult()
        Case("test").run(result)
        return result.wasSuccessful()

    # In coroutines

    async def do_pause(self, turn):
        if turn:
            turn.release()
        await asyncio.sleep(0)
        if turn:
            await turn.acquire()
        return "done"

    async def do_tasks(self, op, path, _):
        kind, *contexts = op.args
        loop = asyncio.get_running_loop()
        turn = asyncio.Lock()

        async def child(number):
            async with turn:
                await self.coroutine(op.bodies[number], f"{path}{number}.", turn)

        def start(number, context):
            context = self.context(context)
            if kind == "group":
                return group.create_task(child(number), context=context)
            if kind == "eager":
                return asyncio.eager_task_factory(loop, child(number), context=context)
            return loop.create_task(child(number), context=context)

        async with asyncio.TaskGroup() if kind == "group" else nullcontext() as group:
            if kind == "gather":
                rest = asyncio.gather(*map(child, range(len(contexts))))
            else:
                rest = asyncio.wait([start(*pair) for pair in enumerate(contexts)])
            await child(len(contexts))
            await rest

    async def do_call_soon(self, op, path, turn):
        done = asyncio.get_running_loop().create_future()

        def callback():
            self.sync(op.bodies[0], f"{path}0.")
            done.set_result(None)

        context = self.context(*op.args)
        asyncio.get_running_loop().call_soon(callback, context=context)
        await done

    async def do_generator(self, op, path, turn):
        done = asyncio.Event()

        async def generator():
            try:
                for number in range(2):
                    self.sync(op.bodies[number], f"{path}{number}.")
                    yield
            finally:
                self.sync(op.bodies[2], f"{path}2.")
                done.set()

        async def step(function, *args):
            await function(*args)

        async def within(context, function, *args):
            coroutine = step(function, *args)
            if context is not None:
                context = self.context(context)
                coroutine = asyncio.create_task(coroutine, context=context)
            await coroutine

        *begin, end = op.args
        values = generator()
        for context in begin:
            await within(context, anext, values)
        if end != "drop":
            await within(end, values.aclose)
        # Otherwise a hook of the event loop finalises it now.
        del values
        await done.wait()

    async def do_sensitive_context(self, op, path, turn):
        async with asgiref.sync.ThreadSensitiveContext():
            await self.coroutine(op.bodies[0], f"{path}0.", turn)

    async def do_to_thread(self, op, path, turn):
        self.set_default_executor()
        await asyncio.to_thread(self.sync, op.bodies[0], f"{path}0.")

    async def do_executor(self, op, path, turn):
        loop = asyncio.get_running_loop()
        self.set_default_executor()
        default = op.args == ("default",)
        with nullcontext() if default else ThreadPoolExecutor(1) as executor:
            await loop.run_in_executor(executor, self.sync, op.bodies[0], f"{path}0.")

    async def do_sync_to_async(self, op, path, turn):
        (sensitive,) = op.args
        self.set_default_executor()
        function = sync_to_async(self.sync, thread_sensitive=sensitive)
        await function(op.bodies[0], f"{path}0.")

    def set_default_executor(self) -> None:
        """Let the running event loop have Workers."""
        loop = asyncio.get_running_loop()
        if loop not in self.workers:
            self.workers[loop] = Workers()
            loop.set_default_executor(self.workers[loop])


def configure() -> None:
    """Configure settings, with the scope if there is such a setting."""
    scope = {SCOPE: os.environ.get(SCOPE, "context")}
    scope = scope if hasattr(global_settings, SCOPE) else {}
    settings.configure(DATABASES=copy.deepcopy(DATABASES), **scope)
    django.setup()


def main(argv: Sequence[str]) -> None:
    """Run programs and print a line of JSON about the whole and one for each.

    Args:
        argv: the command line's arguments.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int, help="the first program's number")
    parser.add_argument("count", type=int, help="how many programs there are")
    parser.add_argument("--tagged", action="store_true", help=TaggedStorage.__doc__)
    options = parser.parse_args(argv)
    # IsolatedAsyncioTestCase has it tell what it finds slow.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    about = {
        "asgiref": asgiref.__version__,
        "django": django.__file__,
        "scoped": hasattr(global_settings, SCOPE),
    }
    print(json.dumps(about), flush=True)
    numbers = range(options.first, options.first + options.count)
    programs = [Generator(number).program() for number in numbers]
    # Those without settings come first, as settings can't be taken back.
    for program in sorted(programs, key=lambda p: p.handler != "unconfigured"):
        if program.handler != "unconfigured" and not settings.configured:
            configure()
        trace = Run(program, TaggedStorage if options.tagged else None)()
        print(json.dumps({"program": str(program), "trace": trace}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
