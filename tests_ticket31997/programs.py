"""Random programs that look connections up, for traces.py to run.

Only one piece of a program runs at any time. Whoever starts a thread waits for it,
and tasks take turns by a lock that they hold also while they wait for a thread. So
nothing in it depends on time, but for the identifiers of threads: they are used
again as soon as they can be.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

# The last one has no database, but can be given a connection.
ALIASES = {"default": 8, "other": 3, "extra": 1}
# Kinds of connection handlers, and how often they are used.
HANDLERS = {
    "global": 40,
    "configured": 30,
    "unconfigured": 12,
    "uncritical": 10,
    "workaround": 8,
}
STORAGES = ("threading.local", "Local", "critical Local", "namespace")
# How often, and with which arguments.
LOOKUPS = {
    "get": (30, "alias"),
    "proxy": (3, "alias"),
    "set": (8, "alias source"),
    "delete": (6, "alias"),
    "initialized": (6, ""),
    "all": (2, ""),
    "open": (5, "alias"),
    "close": (4, "alias"),
    "close_all": (3, ""),
    "storage_get": (4, "alias"),
    "storage_has": (8, ""),
    "storage_set": (4, "alias source"),
    "storage_delete": (3, "alias"),
    "storage_vars": (1, ""),
    "storage_ref": (1, ""),
}
# With django.db.connections, which transactions use.
GLOBAL_LOOKUPS = {
    "query": (6, "alias"),
    "state": (6, "alias"),
    "autocommit": (2, "alias flag"),
    "close_old": (3, ""),
}
SWAPS = {"swap": (4, "storage"), "restore": (3, "")}
DEPTH = 6

type Body = tuple[Op, ...]
# A shared Context's number, the word for how to get one, or None for no other one.
type ContextName = int | str | None


@dataclass(frozen=True)
class Op:
    """An operation.

    Attributes:
        name: what is done.
        args: what it is done with.
        bodies: the operations in it.
    """

    name: str
    args: tuple[object, ...] = ()
    bodies: tuple[Body, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, (self.name, *self.args)))

    def lines(self, path: str) -> Iterator[str]:
        """Yield a line for this operation and each in it.

        Args:
            path: the operation's number.
        """
        yield f"{path} {self}"
        for n, body in enumerate(self.bodies):
            for number, op in enumerate(body):
                yield from op.lines(f"{path}.{n}.{number}")


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        seed: the number that it is made from.
        handler: a kind of HANDLERS.
        unsafe: whether DJANGO_ALLOW_ASYNC_UNSAFE is set.
        body: its operations.
    """

    seed: int
    handler: str
    unsafe: bool
    body: Body

    def __str__(self) -> str:
        lines = [f"program {self.seed}: {self.handler}, unsafe: {self.unsafe}"]
        for number, op in enumerate(self.body):
            lines += op.lines(str(number))
        return "\n".join(lines)


@dataclass(frozen=True)
class Place:
    """Where operations run, as far as a program could come to a standstill.

    Attributes:
        coroutine: whether they may await.
        loop: whether an event loop runs in their thread.
        sensitive: whether the thread that a coroutine's thread-sensitive code goes
            to isn't waiting for this place.
        flat: whether they have to stay in their thread.
        busy: the shared Contexts that are in use around them.
        depth: how many operations are around them.
    """

    coroutine: bool = False
    loop: bool = False
    sensitive: bool = True
    flat: bool = False
    busy: frozenset[ContextName] = frozenset()
    depth: int = 0

    def inside(self, *contexts: ContextName) -> "Place":
        """Return the same place in Contexts, where another one can't enter them."""
        return replace(self, busy=self.busy.union(contexts))

    def on_loop(self, **changes: bool) -> "Place":
        """Return a place in a coroutine."""
        return replace(self, coroutine=True, loop=True, **changes)


class Generator:
    """Makes a program from a number."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.seed = seed
        # How many more operations the program should have.
        self.budget = self.random.choice((10, 25, 50))
        self.handler = self.weighted(HANDLERS)
        self.lookups = dict(LOOKUPS)
        if self.handler == "global":
            self.lookups |= GLOBAL_LOOKUPS
        if swaps := self.random.random() < 0.2:
            self.lookups |= SWAPS
        # asgiref finds what isn't critical by the identifier of a thread: in a
        # shared Context it shows whether one is used again.
        uncritical = swaps or self.handler == "uncritical"
        self.contexts = () if uncritical else (0, 1)

    def program(self) -> Program:
        """Return the program."""
        unsafe = self.chance(0.75)
        body: Body = ()
        while self.budget > 0:
            body += self.body(Place())
        return Program(self.seed, self.handler, unsafe, body)

    def chance(self, probability: float) -> bool:
        """Return True as often as that."""
        return self.random.random() < probability

    def weighted(self, weights: dict[str, int]) -> str:
        """Return one of the keys."""
        return self.random.choices([*weights], [*weights.values()])[0]

    def body(self, place: Place) -> Body:
        """Return some operations."""
        return tuple(self.op(place) for _ in range(self.random.randint(1, 4)))

    def op(self, place: Place) -> Op:
        """Return an operation."""
        self.budget -= 1
        if self.budget > 0 and place.depth < DEPTH and self.chance(0.45):
            name = self.random.choice([*self.compounds(place)])
            inner = replace(place, depth=place.depth + 1)
            return getattr(self, f"make_{name}")(inner)
        if place.coroutine and self.chance(0.2):
            return Op("pause")
        return self.make_lookup(place)

    def compounds(self, place: Place) -> Iterator[str]:
        """Yield what there is for a place, some of it more than once."""
        yield from ["lookup"]
        if self.handler == "global":
            yield "atomic"
        if place.coroutine:
            yield from ["tasks"] * 3
        if place.flat:
            return
        yield from ["thread", "enter"]
        if place.coroutine:
            yield from ["to_thread", "executor", "call_soon", "generator"]
            yield from ["sensitive_context", "insensitive"]
            yield from ["sensitive"] * 2 * place.sensitive
        else:
            # Where a loop runs these two are refused.
            yield from ["run", "async_to_sync"]
            if not place.loop:
                yield from ["async_to_sync", "runner", "row", "row", "case"]

    def make_lookup(self, place: Place) -> Op:
        """Return an operation without others in it."""
        name = self.weighted({name: n for name, (n, _) in self.lookups.items()})
        values = {
            "alias": self.weighted(ALIASES),
            # A new connection or one that there is already.
            "source": self.random.choice(("new", *range(8))),
            "flag": self.chance(0.5),
            "storage": self.random.choice(STORAGES),
        }
        return Op(name, tuple(values[word] for word in self.lookups[name][1].split()))

    def context(self, place: Place, *others: ContextName) -> ContextName:
        """Return a Context that can be entered."""
        shared = [number for number in self.contexts if number not in place.busy]
        return self.random.choice([*others, "copy", "new", *shared * 2])

    def make_atomic(self, inner: Place) -> Op:
        name = "atomic_await" if inner.coroutine else "atomic"
        alias = self.random.choice(("default", "other"))
        return Op(name, (alias,), (self.body(inner),))

    # In whatever code

    def make_thread(self, inner: Place) -> Op:
        return self.entered("thread", replace(inner, loop=False))

    def make_enter(self, inner: Place) -> Op:
        return self.entered("enter", inner)

    def entered(self, name: str, inner: Place) -> Op:
        """Return an operation with synchronous code in a Context."""
        context = self.context(inner)
        inner = replace(inner.inside(context), coroutine=False, sensitive=False)
        return Op(name, (context,), (self.body(inner),))

    # In synchronous code

    def make_run(self, inner: Place) -> Op:
        return Op("run", (), (self.body(inner.on_loop()),))

    def make_runner(self, inner: Place) -> Op:
        context = self.context(inner, None)
        sensitive = inner.sensitive and context in (None, "copy")
        inner = inner.inside(context).on_loop(sensitive=sensitive)
        return Op("runner", (context,), (self.body(inner), self.body(inner)))

    def make_async_to_sync(self, inner: Place) -> Op:
        # It runs thread-sensitive code while it waits.
        body = self.body(inner.on_loop(sensitive=True))
        return Op("async_to_sync", (self.chance(0.4),), (body,))

    def make_row(self, inner: Place) -> Op:
        args = (self.chance(0.4), self.chance(0.2))
        return Op("row", args, (self.body(inner.on_loop(flat=True)),))

    def make_case(self, inner: Place) -> Op:
        bodies = [self.body(inner.on_loop()) for _ in range(3)]
        return Op("case", (), (self.body(replace(inner, sensitive=False)), *bodies))

    # In coroutines

    def make_tasks(self, inner: Place) -> Op:
        kind = self.random.choice(("gather", "group", "task", "task", "eager"))
        if kind == "gather":
            contexts = [None] * self.random.randint(1, 4)
        else:
            # An eager task can't enter the Context of its parent, which runs.
            others = (None,) if kind == "eager" else (None, "own")
            number = self.random.randint(1, 3)
            contexts = [self.context(inner, *others) for _ in range(number)]
        inner = inner.inside(*contexts)
        bodies = []
        for context in contexts:
            inherits = context in (None, "own", "copy")
            sensitive = inner.sensitive and inherits
            bodies.append(self.body(replace(inner, sensitive=sensitive)))
        return Op("tasks", (kind, *contexts), (*bodies, self.body(inner)))

    def make_call_soon(self, inner: Place) -> Op:
        return self.entered("call_soon", inner)

    def make_generator(self, inner: Place) -> Op:
        begin = [self.context(inner, None, None) for _ in range(2)]
        end = self.context(inner, None, "drop", "drop")
        bodies = [(self.make_lookup(inner), self.make_lookup(inner)) for _ in range(3)]
        return Op("generator", (*begin, end), tuple(bodies))

    def make_sensitive_context(self, inner: Place) -> Op:
        return Op("sensitive_context", (), (self.body(inner),))

    def make_to_thread(self, inner: Place) -> Op:
        return self.away("to_thread", inner)

    def make_executor(self, inner: Place) -> Op:
        return self.away("executor", inner, self.random.choice(("default", "own")))

    def make_sensitive(self, inner: Place) -> Op:
        return self.away("sync_to_async", inner, True)

    def make_insensitive(self, inner: Place) -> Op:
        return self.away("sync_to_async", inner, False)

    def away(self, name: str, inner: Place, *args: object) -> Op:
        """Return an operation with synchronous code in another thread."""
        inner = replace(inner, coroutine=False, loop=False, sensitive=False)
        return Op(name, args, (self.body(inner),))
