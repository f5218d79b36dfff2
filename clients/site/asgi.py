"""The ASGI application, and tasks outside of requests in the same process."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.asgi import get_asgi_application

# It sets Django up, which what is imported next needs.
django_application = get_asgi_application()

from django.db import connection  # noqa: E402
from django.db.transaction import atomic  # noqa: E402

from clients.site.views import IN_USE, OUTSIDE  # noqa: E402
from tests_ticket31997.models import Question  # noqa: E402

# Held here, as the event loop doesn't.
TASKS: set[asyncio.Task] = set()


async def tick(name: str) -> None:
    """Write rows in the background, on the connection of the thread."""
    while True:
        with atomic():
            Question.objects.create(question_text=f"outside {name}")
            pid = connection.connection.info.backend_pid
            assert pid not in IN_USE
            OUTSIDE[pid] = OUTSIDE.get(pid, 0) + 1
        await asyncio.sleep(0.002)


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict]],
    send: Callable[[dict], Awaitable[None]],
) -> None:
    """Serve a request; begin the background work with the first one."""
    if not TASKS and scope["type"] == "http":
        for name in ("one", "other"):
            # Of no request's context.
            coroutine = tick(name)
            context = contextvars.Context()
            TASKS.add(asyncio.create_task(coroutine, context=context))
    await django_application(scope, receive, send)
