"""A Telegram bot, whose handlers use the ORM on the event loop."""

import asyncio

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command as Named
from aiogram.filters import CommandObject
from aiogram.types import ErrorEvent, Message
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.db.transaction import atomic

from tests_ticket31997.models import Question

dispatcher = Dispatcher()


@dispatcher.message(Named("note"))
async def note(message: Message, command: CommandObject) -> None:
    """Note a question, unless its author can't be told."""
    with atomic():
        Question.objects.create(question_text=command.args)
        pid = connection.connection.info.backend_pid
        await message.answer(f"noting by {pid}")
    await message.answer("noted")


@dispatcher.message(Named("forget"))
async def forget(message: Message) -> None:
    """Leave a block open, as a bug does."""
    atomic().__enter__()
    await message.answer("forgotten")


@dispatcher.message(Named("reconnect"))
async def reconnect(message: Message) -> None:
    """Close the connection, for which there's no synchronous code here."""
    connection.close()
    await message.answer("closed")


@dispatcher.errors()
async def failed(event: ErrorEvent, bot: Bot, admin: int) -> None:
    """Tell the admin what has gone wrong."""
    chat = event.update.message.chat.id
    error = event.exception
    await bot.send_message(admin, f"{chat}: {type(error).__name__}: {error}")


class Command(BaseCommand):
    """The program: django-admin bot SERVER TOKEN ADMIN."""

    help = "Run the bot until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what it needs to know of Telegram, and what is done at first."""
        parser.add_argument("server", help="the address of Telegram's server")
        parser.add_argument("token")
        parser.add_argument("admin", type=int, help="the chat that errors go to")
        parser.add_argument("--count-first", action="store_true")

    async def run(self, server: str, token: str, admin: int, count_first: bool) -> None:
        """Run the bot; count_first: query before it starts its tasks."""
        if count_first:
            Question.objects.count()
        session = AiohttpSession(api=TelegramAPIServer.from_base(server))
        await dispatcher.start_polling(Bot(token, session=session), admin=admin)

    def handle(
        self,
        *,
        server: str,
        token: str,
        admin: int,
        count_first: bool,
        **options: object,
    ) -> None:
        """Run the loop."""
        asyncio.run(self.run(server, token, admin, count_first))
