"""The shapes for async_to_sync() and the asynchronous API, as far as that goes.

What synchronous code starts can be written so on any Django since 4.2, with
neither the series nor DJANGO_ALLOW_ASYNC_UNSAFE: queries are awaited, and blocks
that await nothing are synchronous functions. A program that can't be gets the
error that Django or asgiref raises.
"""

from __future__ import annotations

import asyncio

from asgiref.sync import async_to_sync, sync_to_async
from django.db.transaction import atomic

from tests_ticket31997.models import Choice, Question
from tests_ticket31997.shapes import (
    CHOICES_PER_TASK,
    INSERTS,
    TASKS,
    Recorder,
    Undo,
    add_questions,
    call_beside_loop,
    gather,
)


async def add_choices(recorder: Recorder, question: Question) -> None:
    """Insert one task's choices.

    Args:
        recorder: told about the connection used.
        question: the question to add them to.
    """
    await asyncio.sleep(0)
    await sync_to_async(recorder.note)()
    for number in range(CHOICES_PER_TASK):
        await Choice.objects.acreate(question=question, choice_text=f"Choice {number}")


@sync_to_async
def add_question_with_choices(recorder: Recorder) -> None:
    """Insert one question with its choices in a transaction, which awaits nothing.

    Args:
        recorder: told about the connection used.
    """
    with atomic():
        [question] = add_questions(recorder, 1)
        for number in range(CHOICES_PER_TASK):
            Choice.objects.create(question=question, choice_text=f"Choice {number}")


@async_to_sync
async def async_atomic_gather(recorder: Recorder) -> None:
    """The block spans what is awaited, so it can't leave the coroutine."""
    with atomic():
        questions = await sync_to_async(add_questions)(recorder)
        await gather(add_choices, *[(recorder, q) for q in questions])


def sync_atomic_run(recorder: Recorder) -> None:
    """Sync code opens a transaction and runs a coroutine inside it."""

    async def main(questions: list[Question]) -> None:
        for question in questions:
            await add_choices(recorder, question)

    with atomic():
        async_to_sync(main)(add_questions(recorder))


def gather_without_parent(recorder: Recorder) -> None:
    """Tasks with a transaction each."""
    async_to_sync(gather)(add_question_with_choices, *[(recorder,)] * TASKS)


def sync_atomic_gather(recorder: Recorder) -> None:
    """Sync code opens a transaction and gathers tasks inside it."""
    with atomic():
        questions = add_questions(recorder)
        async_to_sync(gather)(add_choices, *[(recorder, q) for q in questions])


def outer_rollback(recorder: Recorder) -> None:
    """Sync code's transaction is rolled back, with what its tasks wrote."""
    try:
        with atomic():
            add_questions(recorder, 1)
            gather_without_parent(recorder)
            raise Undo
    except Undo:
        pass


def running_loop(recorder: Recorder) -> None:
    """Sync code beside a loop can't await, and asks async_to_sync() to."""

    def beside(questions: list[Question]) -> None:
        for question in questions:
            async_to_sync(add_choices)(recorder, question)

    with atomic():
        questions = add_questions(recorder)
        call_beside_loop(lambda: beside(questions))


def inserts(recorder: Recorder) -> None:
    """1,000 inserts by a coroutine that runs inside sync code's transaction."""

    async def main() -> None:
        for number in range(INSERTS):
            await Question.objects.acreate(question_text=f"Question {number}?")

    with atomic():
        recorder.note()
        async_to_sync(main)()


REWRITTEN = {
    "async_atomic_gather": async_atomic_gather,
    "sync_atomic_run": sync_atomic_run,
    "gather_without_parent": gather_without_parent,
    "sync_atomic_gather": sync_atomic_gather,
    "outer_rollback": outer_rollback,
    "running_loop": running_loop,
    "inserts": inserts,
}
