"""A Telegram bot of aiogram's, whose handlers use the ORM on the event loop.

aiogram handles each message in a task of its own. What a handler finds in "context"
depends on the task that they all come from: had that queried before, they share its
connection, and a note that its author was told of is lost when another handler's
transaction, which has nothing to do with it, rolls back. If not, each has a connection
of its own. In "thread" they share one, and are told.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import psycopg
import pytest
from aiohttp import web

from clients.conftest import environment, refusal, texts
from patchkit.shapes import CONTEXT, THREAD, Run
from tests_ticket31997.patience import PATIENCE

TOKEN = "1:token"
# Chats.
ADMIN, ANN, BOB = 1, 7, 8
BLOCKED = f"{ANN}: TelegramForbiddenError: Telegram server says - Forbidden: no"
REFUSED = rf"{BOB}: SynchronousOnlyOperation: " + refusal(
    r"Dispatcher\._process_update, .*/dispatcher\.py"
)
# What becomes of a connection that's closed inside a block.
DEAD = f"{BOB}: OperationalError: the connection is closed"


class Telegram:
    """So much of Telegram's server as the bot needs, on a port of its own."""

    def __init__(self) -> None:
        self.sent = 0
        self.updates: asyncio.Queue[dict] = asyncio.Queue()
        self.answers: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        # Ann has blocked the bot: it's told so as soon as this is set.
        self.say_no = asyncio.Event()

    async def call(self, request: web.Request) -> web.Response:
        """Answer a call of the bot's."""
        result: object = True
        form = await request.post()
        match request.match_info["method"]:
            case "getMe":
                result = {"id": 1, "is_bot": True, "first_name": "Bot"}
            case "getUpdates":
                result = [await self.updates.get()]
            case "sendMessage":
                chat, text = int(str(form["chat_id"])), str(form["text"])
                self.answers.put_nowait((chat, text))
                if chat == ANN:
                    await self.say_no.wait()
                    failure = {"ok": False, "description": "Forbidden: no"}
                    return web.json_response(failure, status=403)
                result = self.message(chat, text)
        return web.json_response({"ok": True, "result": result})

    def message(self, chat: int, text: str) -> dict:
        """Return a message as Telegram writes it."""
        of = {"id": chat, "type": "private"}
        return {"message_id": 1, "date": 0, "chat": of, "text": text}

    async def send(self, chat: int, text: str) -> tuple[int, str]:
        """Send the bot what somebody writes; return what it says next, and to whom."""
        self.sent += 1
        update = {"update_id": self.sent, "message": self.message(chat, text)}
        self.updates.put_nowait(update)
        return await self.answers.get()


@asynccontextmanager
async def bot(env: Mapping[str, str], *options: str) -> AsyncIterator[Telegram]:
    """Run the bot, with a server of its own."""
    telegram = Telegram()
    application = web.Application()
    application.router.add_post(f"/bot{TOKEN}/{{method}}", telegram.call)
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "django", "bot", f"http://{host}:{port}"),
            *(TOKEN, str(ADMIN), *options),
            env=dict(env),
        )
        try:
            yield telegram
            process.terminate()
            assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    finally:
        await runner.cleanup()


async def talk(
    env: Mapping[str, str], database: psycopg.Connection, *options: str
) -> list[tuple[str, str, list[str]]]:
    """Return what is said of each of Bob's notes, first and last, and the rows then."""
    said = []

    async with bot(env, *options) as telegram, asyncio.timeout(PATIENCE):

        async def note(text: str) -> None:
            chat, first = last = await telegram.send(BOB, f"/note {text}")
            if chat == BOB:
                last = await telegram.answers.get()
            said.append((first, last[1], texts(database)))

        await note("alone")
        # The answer to Ann is under way, inside the block.
        assert (await telegram.send(ANN, "/note by Ann"))[0] == ANN
        await note("meanwhile")
        telegram.say_no.set()
        assert await telegram.answers.get() == (ADMIN, BLOCKED)
        await note("afterwards")
        assert await telegram.send(BOB, "/forget") == (BOB, "forgotten")
        await note("after a bug")
        assert await telegram.send(BOB, "/reconnect") == (BOB, "closed")
        await note("at last")
        assert telegram.answers.empty()
    return said


# With what each of Bob's notes ends, by which connection it's written, and the rows
# that are there by then.
OUTCOMES = {
    "context": (
        ("noted", 0, "alone"),
        ("noted", 1, "alone, meanwhile"),
        ("noted", 2, "afterwards, alone, meanwhile"),
        ("noted", 3, "after a bug, afterwards, alone, meanwhile"),
        ("noted", 4, "after a bug, afterwards, alone, at last, meanwhile"),
    ),
    "context of a query": (
        ("noted", 0, "alone"),
        # Lost with Ann's, and the fourth with the bug's block.
        ("noted", 0, "alone"),
        ("noted", 0, "afterwards, alone"),
        ("noted", 0, "afterwards, alone"),
        (DEAD, None, "afterwards, alone"),
    ),
    "thread": (
        ("noted", 0, "alone"),
        (REFUSED, None, "alone"),
        ("noted", 0, "afterwards, alone"),
        ("noted", 0, "afterwards, alone"),
        ("noted", 1, "afterwards, alone, at last"),
    ),
}


@pytest.mark.parametrize(
    ("run", "name", "options"),
    (
        (CONTEXT, "context", ()),
        (CONTEXT, "context of a query", ("--count-first",)),
        (THREAD, "thread", ("--count-first",)),
    ),
)
def test_bot(
    run: Run,
    name: str,
    options: tuple[str, ...],
    server: Mapping[str, str],
    database: psycopg.Connection,
) -> None:
    said = asyncio.run(talk(environment(server, run), database, *options))
    pids: list[str] = []
    for (first, last, rows), (end, number, wanted) in zip(
        said, OUTCOMES[name], strict=True
    ):
        assert re.fullmatch(end, last), last
        if number is not None:
            pid = first.removeprefix("noting by ")
            if pid not in pids:
                pids.append(pid)
            assert pids.index(pid) == number, said
        assert ", ".join(rows) == wanted
