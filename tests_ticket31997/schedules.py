"""Random schedules of tasks that use transactions, and an oracle for them.

A program is a tree of operations. Tasks stop at each of their awaits until the
schedule lets one of them go on, or cancels it, so that a program and a schedule
determine the interleaving: nothing depends on time.
"""

import asyncio
from dataclasses import dataclass, field

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection
from django.db.transaction import TransactionManagementError, atomic

from tests_ticket31997.models import Question

# The transaction is another task's, or was rolled back under its code.
REFUSALS = (SynchronousOnlyOperation, TransactionManagementError)
# One instance that all tasks share, entered as it is and as a decorator.
REUSED = atomic()


class Boom(Exception):
    """Raised by a program."""


@dataclass(frozen=True)
class Write:
    """Insert a row."""


@dataclass(frozen=True)
class Await:
    """Stop until the schedule goes on."""


@dataclass(frozen=True)
class Raise:
    """Raise Boom."""


@dataclass(frozen=True)
class Block:
    """Run operations in an atomic block.

    Attributes:
        body: the operations.
        catch: whether what the block raises ends here.
        reused: whether the block is an entry into the instance all tasks share.
    """

    body: tuple
    catch: bool = False
    reused: bool = False


@dataclass(frozen=True)
class Spawn:
    """Start a task.

    Attributes:
        body: its operations.
        wait: whether the task is waited for at once.
    """

    body: tuple
    wait: bool = False


@dataclass
class OpenBlock:
    """A block as the oracle sees it.

    Attributes:
        failed: whether it raised, or None as long as it is open.
    """

    failed: bool | None = None


@dataclass
class Run:
    """The running of a program.

    Attributes:
        writes: for each row written, the blocks that it was in.
        refusals: how many times one of REFUSALS was raised.
        waiting: the futures of tasks that stopped at an await.
        tasks: all tasks started.
    """

    writes: list[tuple[str, list[OpenBlock]]] = field(default_factory=list)
    refusals: int = 0
    waiting: list[asyncio.Future] = field(default_factory=list)
    tasks: list[asyncio.Task] = field(default_factory=list)

    async def task(self, body: tuple, chain: tuple) -> None:
        """Run a task's operations; what they raise ends the task only."""
        try:
            await self.execute(body, chain)
        except (Boom, *REFUSALS, asyncio.CancelledError) as e:
            self.note(e)

    def note(self, error: BaseException) -> None:
        """Count a refusal."""
        self.refusals += isinstance(error, REFUSALS)

    async def execute(self, body: tuple, chain: tuple) -> None:
        """Run operations.

        Args:
            body: the operations.
            chain: the blocks around them, of the task and of those it was
                started in.
        """
        for operation in body:
            match operation:
                case Write():
                    name = str(len(self.writes))
                    around = [block for block in chain if block.failed is None]
                    self.writes.append((name, around))
                    try:
                        Question.objects.create(question_text=name)
                    except REFUSALS:
                        self.writes[int(name)] = (name, [OpenBlock(failed=True)])
                        raise
                case Await():
                    future = asyncio.get_running_loop().create_future()
                    self.waiting.append(future)
                    try:
                        await future
                    finally:
                        if future in self.waiting:
                            self.waiting.remove(future)
                case Raise():
                    raise Boom
                case Block():
                    await self.block(operation, chain)
                case Spawn():
                    task = asyncio.create_task(self.task(operation.body, chain))
                    self.tasks.append(task)
                    if operation.wait:
                        await asyncio.shield(task)

    async def block(self, operation: Block, chain: tuple) -> None:
        """Run operations in an atomic block."""
        opened = OpenBlock()
        try:
            with REUSED if operation.reused else atomic():
                await self.execute(operation.body, (*chain, opened))
        except (Boom, *REFUSALS) as e:
            opened.failed = True
            if not operation.catch:
                raise
            self.note(e)
        except asyncio.CancelledError:
            opened.failed = True
            raise
        else:
            opened.failed = False

    async def main(self, program: tuple, schedule: list[tuple[int, bool]]) -> None:
        """Run the tasks of a program to their end.

        Args:
            program: the body of each task.
            schedule: for each step, which of the waiting tasks is next and
                whether it is cancelled. After its end, they go on in order.
        """
        for body in program:
            self.tasks.append(asyncio.create_task(self.task(body, ())))
        steps = iter(schedule)
        while not all(task.done() for task in self.tasks):
            await self.settle()
            if self.waiting:
                number, cancel = next(steps, (0, False))
                future = self.waiting.pop(number % len(self.waiting))
                if cancel:
                    future.cancel()
                else:
                    future.set_result(None)

    async def settle(self) -> None:
        """Let every task run until it stops at an await or has ended."""
        while True:
            before = (len(self.waiting), len(self.tasks), len(self.writes))
            for _ in range(5):
                await asyncio.sleep(0)
            if before == (len(self.waiting), len(self.tasks), len(self.writes)):
                break


@dataclass(frozen=True)
class Verdict:
    """What the oracle says of a run.

    Attributes:
        lost: acknowledged writes that are missing.
        phantom: rolled-back writes that are present.
        unclean: what is wrong with the connection's state afterwards.
        refusals: how many times one of REFUSALS was raised.
    """

    lost: frozenset
    phantom: frozenset
    unclean: tuple
    refusals: int


def run(program: tuple, schedule: list[tuple[int, bool]]) -> Verdict:
    """Run a program by a schedule and ask the oracle.

    A write is acknowledged if every block that was open around it, in its own
    task and in those it was started in, exited without an exception.

    Args:
        program: the body of each task.
        schedule: see Run.main().

    Returns:
        The verdict. The connection is clean afterwards in any case.
    """
    Question.objects.all().delete()
    state = Run()
    asyncio.run(state.main(program, schedule))
    unclean = tuple(
        name
        for name, wrong in (
            ("in_atomic_block", connection.in_atomic_block),
            ("atomic_blocks", connection.atomic_blocks),
            ("savepoint_ids", connection.savepoint_ids),
            ("open_block", getattr(connection, "open_block", None)),
            ("autocommit", not connection.get_autocommit()),
        )
        if wrong
    )
    if unclean:
        connection.close()
        connection.connection = None
    present = set(Question.objects.values_list("question_text", flat=True))
    acknowledged = {
        name
        for name, around in state.writes
        if not any(block.failed for block in around)
    }
    rolled_back = {name for name, _ in state.writes} - acknowledged
    return Verdict(
        frozenset(acknowledged - present),
        frozenset(rolled_back & present),
        unclean,
        state.refusals,
    )
