"""FastAPI and Channels beside Django's handler, all of them with the ORM."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

# It sets Django up, which what is imported next needs.
django_application = get_asgi_application()

from django import db  # noqa: E402
from django.core.exceptions import SynchronousOnlyOperation  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.db.transaction import Atomic, atomic  # noqa: E402
from fastapi import Depends, FastAPI, Request  # noqa: E402
from fastapi.responses import PlainTextResponse  # noqa: E402

from tests_ticket31997.models import Question  # noqa: E402


def write(text: str) -> str:
    """Write a row; tell by which backend."""
    Question.objects.create(question_text=text)
    return str(connection.connection.info.backend_pid)


async def transaction() -> AsyncIterator[None]:
    """Hold a block open for the endpoint, which the answer waits for."""
    with atomic():
        yield


fastapi = FastAPI()


@fastapi.post("/import", dependencies=[Depends(transaction, scope="function")])
async def import_lines(request: Request) -> PlainTextResponse:
    """Write the lines that the client sends, while it sends them, or none."""
    rest = b""
    async for chunk in request.stream():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            pid = write(line.decode())
    return PlainTextResponse(pid)


@fastapi.exception_handler(SynchronousOnlyOperation)
async def refuse(request: Request, error: Exception) -> PlainTextResponse:
    """Tell the client why it's to come again."""
    return PlainTextResponse(str(error), 503)


fastapi.mount("/django", django_application)


class Consumer(AsyncWebsocketConsumer):
    """What a client says is in a transaction, until it says "commit"."""

    block: Atomic | None = None

    async def receive(self, text_data: str) -> None:
        """Take one message, and answer it."""
        if text_data == "commit":
            block, self.block = self.block, None
            block.__exit__(None, None, None)
            await self.send("committed")
            return
        try:
            if not self.block:
                block = atomic()
                block.__enter__()
                self.block = block
            await self.send(write(text_data))
        except SynchronousOnlyOperation as e:
            await self.send(str(e))

    async def disconnect(self, code: int) -> None:
        """Drop what isn't committed."""
        if self.block:
            self.block.__exit__(ConnectionError, ConnectionError(), None)


@contextmanager
def own_connections() -> Iterator[None]:
    """Give each request connections of its own, which nobody else closes."""
    # Without the series they are anyway.
    with getattr(db, "isolated_connections", nullcontext)():
        try:
            yield
        finally:
            connections.close_all()


around = own_connections if os.environ["ISOLATED"] == "yes" else nullcontext
router = ProtocolTypeRouter(
    {"http": fastapi, "websocket": Consumer.as_asgi(), "lifespan": fastapi}
)


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict]],
    send: Callable[[dict], Awaitable[None]],
) -> None:
    """Serve Django, FastAPI and Channels."""
    with around():
        await router(scope, receive, send)
