"""Views that use the ORM's synchronous API: on the event loop, but for meet()."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from django.db import connection, connections
from django.db.transaction import atomic
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

from tests_ticket31997.models import Question
from tests_ticket31997.patience import PATIENCE

# As many requests use the database at once, each on a connection of its own.
# PostgreSQL allows 100 by default.
POOL = asyncio.Semaphore(60)

# Who uses a backend, by its process id, and who found it in use.
IN_USE: dict[int, str] = {}
CONFLICTS: list[str] = []
# The backends that code outside of requests has used, and how often.
OUTSIDE: dict[int, int] = {}


class Failure(Exception):
    """What a view that has to fail raises."""


@contextmanager
def in_use(name: str) -> Iterator[None]:
    """Note that somebody uses the calling code's backend during the block."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    if pid in IN_USE or pid in OUTSIDE:
        CONFLICTS.append(f"{name}: {IN_USE.get(pid, 'outside')}")
    IN_USE[pid] = name
    try:
        yield
    finally:
        del IN_USE[pid]


@asynccontextmanager
async def transaction(name: str) -> AsyncIterator[None]:
    """Wait for one of the connections; write a row at both ends of a block."""
    async with POOL:
        try:
            with in_use(name), atomic():
                Question.objects.create(question_text=f"{name} first")
                await asyncio.sleep(0)
                yield
                Question.objects.create(question_text=f"{name} second")
        finally:
            # Nobody else does: it's the context's own.
            connections.close_all()


async def write(request: HttpRequest, kind: str, number: int) -> HttpResponse:
    """Write two rows, unless the view is to fail between them."""
    async with transaction(f"{kind} {number}"):
        if kind == "sleep":
            await asyncio.sleep(0.005)
        if kind == "fail":
            raise Failure
    return HttpResponse("done")


async def stream(
    request: HttpRequest, number: int, endless: bool = False
) -> StreamingHttpResponse:
    """Write them while the response is being sent; endless: never the second."""

    async def chunks() -> AsyncIterator[str]:
        async with transaction(f"{'cut' if endless else 'stream'} {number}"):
            yield "begun "
            if endless:
                await asyncio.Event().wait()
        yield "done"

    return StreamingHttpResponse(chunks())


get_barrier = functools.cache(threading.Barrier)


def meet(request: HttpRequest, parties: int, name: str) -> HttpResponse:
    """Write rows before and after so many requests have met; tell the backend."""
    with atomic():
        Question.objects.create(question_text=f"{name} first")
        get_barrier(parties).wait(PATIENCE)
        Question.objects.create(question_text=f"{name} second")
        return HttpResponse(str(connection.connection.info.backend_pid))


async def stats(request: HttpRequest) -> JsonResponse:
    """Tell what has been noted."""
    return JsonResponse(
        {
            "conflicts": CONFLICTS,
            "in_use": sorted(IN_USE.values()),
            "outside": OUTSIDE,
        }
    )
