"""How long tests wait for others, which is for ever if something is wrong.

No test measures time: what is waited for takes as long as it takes on a busy
machine, and these limits are far beyond that.

Like shapes.py this has to run on Python 3.8, and it is for the tests outside of
Django's trees too.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

# For a step of somebody else's, in seconds.
PATIENCE = 60
# For a program that takes many steps.
PROGRAM_PATIENCE = 30 * PATIENCE


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what another thread or process does and nothing tells of.

    Args:
        condition: called until what it returns is true.

    Raises:
        TimeoutError: it's still false after PATIENCE seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Still waiting after {PATIENCE} seconds.")
        time.sleep(0.01)


@contextmanager
def ending(process: subprocess.Popen) -> Iterator[None]:
    """See to it that a process has ended at the end of the block.

    It has PROGRAM_PATIENCE seconds for the whole block, in which its output can
    thus be read to the end; if the block fails it is killed at once.

    Args:
        process: the process.

    Raises:
        TimeoutError: it had to be killed.
    """
    late = threading.Event()

    def kill() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(PROGRAM_PATIENCE, kill)
    timer.daemon = True
    timer.start()
    try:
        with process:
            try:
                yield
            except BaseException:
                process.kill()
                raise
    finally:
        timer.cancel()
        if late.is_set():
            raise TimeoutError(f"Still running after {PROGRAM_PATIENCE} seconds.")
