"""The benchmarks of one module of django-asv on one tree, for asv.py to run."""

import importlib
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator

# How many times a benchmark is measured, and for how long each time, in seconds.
SAMPLES = 3
DURATION = 0.05


def sample(make: Callable[[], object], name: str, number: int) -> float:
    """Measure one benchmark once.

    Args:
        make: its class.
        name: the method to call.
        number: how many times to call it after one setup(), as asv does.

    Returns:
        The processor's time for a call, in seconds.
    """
    benchmark = make()
    # Few have both.
    getattr(benchmark, "setup", lambda: None)()
    function = getattr(benchmark, name)
    start = time.process_time()
    for _ in range(number):
        function()
    seconds = time.process_time() - start
    getattr(benchmark, "teardown", lambda: None)()
    return seconds / number


def benchmarks(module: str) -> Iterator[tuple[type, str]]:
    """Yield the classes of a module with the names of what is to be timed.

    A coroutine function isn't: asv doesn't await what it calls.
    """
    found = inspect.getmembers(importlib.import_module(module), inspect.isclass)
    for _, value in found:
        for name, function in inspect.getmembers(value, inspect.isfunction):
            if name.startswith("time_") and not inspect.iscoroutinefunction(function):
                yield value, name


def main(module: str, known: dict[str, int]) -> None:
    """Measure the benchmarks of a module and print the results as JSON.

    Args:
        module: its name.
        known: how many calls to make in one go, by benchmark. Some calls, such as
            those that delete what setup() made, cost less the second time: the
            number has to be the same on both trees.
    """
    results = {}
    for make, name in benchmarks(module):
        title = f"{make.__name__}.{name}"
        first = sample(make, name, 1)
        number = known.get(title) or max(1, round(DURATION / max(first, 1e-6)))
        seconds = min(sample(make, name, number) for _ in range(SAMPLES))
        results[title] = (number, seconds)
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
