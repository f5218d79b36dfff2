"""Programs that are given the time to clean up when the run is interrupted."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

# A program whose run is interrupted has this long, in seconds, to end by itself: a
# terminal sends the signal to all. Then it is sent one, and has as long again.
PATIENCE = 60


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[None]:
    """Let a program end by itself if the block that waits for it is interrupted.

    Args:
        process: the program. It is killed if the block fails for another reason.
    """
    try:
        yield
    except KeyboardInterrupt:
        for last_resort in (signal.SIGINT, signal.SIGKILL):
            try:
                process.communicate(timeout=PATIENCE)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(last_resort)
        raise
    except BaseException:
        process.kill()
        raise


def run(command: Sequence[object], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program as subprocess.run() does, which kills it at Ctrl+C.

    Args:
        command: the program and its arguments.
        options: those of subprocess.Popen().

    Returns:
        How it ended.

    Raises:
        KeyboardInterrupt: the run was interrupted, and the program has ended.
    """
    words = list(map(str, command))
    with subprocess.Popen(words, text=True, **options) as process, ending(process):
        output, errors = process.communicate()
    return subprocess.CompletedProcess(words, process.returncode, output, errors)


def capture(
    command: Sequence[object], *, stdin: str = "", **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program, and keep what it writes, whatever bytes are in it.

    Args:
        command: the program and its arguments.
        stdin: what it can read.
        options: those of subprocess.run().

    Returns:
        How it ended, with both outputs.
    """
    return subprocess.run(
        list(map(str, command)),
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        **options,
    )


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Clean up after the block, also when it is interrupted.

    Inside of it all temporary files, of programs that it runs too, are in one
    directory, which is removed. Ctrl+C raises KeyboardInterrupt once: tox sends the
    signal again, which isn't to interrupt the cleaning up.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGINT, interrupt)
    env, tempdir = dict(os.environ), tempfile.tempdir
    try:
        with tempfile.TemporaryDirectory(
            prefix="ticket31997-", ignore_cleanup_errors=True
        ) as directory:
            os.environ["TMPDIR"] = tempfile.tempdir = directory
            yield
    finally:
        os.environ.clear()
        os.environ.update(env)
        tempfile.tempdir = tempdir
        signal.signal(signal.SIGINT, handler)
