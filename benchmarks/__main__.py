"""python -m benchmarks: how the patched tree compares with the base.

Both are measured in turn, round after round, so that whatever else the machine
does meets both. What counts is the ratio.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pyperf
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import SCOPE
from patchkit import ROOT, checkout, say
from patchkit.checkout import Fork

TREES = ("base", "django")
# None: sync code, which doesn't look at the setting, and the ORM.
SCOPES = (None, "context", "thread")


def measure(fork: Fork, rounds: int, directory: Path) -> None:
    """Run the benchmarks of both trees in turn.

    Args:
        fork: the repository, with a checkout.
        rounds: how many times.
        directory: where to put pyperf's results, a file per tree and round.
    """
    for number in range(rounds):
        say(f"Round {number + 1} of {rounds}.")
        for scope in SCOPES:
            # The other one first in every other round.
            for tree in TREES if number % 2 else reversed(TREES):
                path = f"{fork.tree(tree)}{os.pathsep}{ROOT}"
                env = os.environ | {"PYTHONPATH": path}
                if scope:
                    env[SCOPE] = scope
                output = directory / f"{tree}-{number}-{scope}.json"
                command = ["--processes=1", "--values=10", "--warmups=2", "--quiet"]
                subprocess.run(
                    [
                        *(sys.executable, str(ROOT / "benchmarks" / "worker.py")),
                        *(*command, f"--output={output}"),
                    ],
                    env=env,
                    check=True,
                )


def results(directory: Path, tree: str, rounds: int) -> dict[str, list[float]]:
    """Read what measure() wrote.

    Args:
        directory: where.
        tree: which tree's results.
        rounds: how many there are.

    Returns:
        For each benchmark the median of each round, in seconds.
    """
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for scope in SCOPES:
            name = f"{tree}-{number}-{scope}.json"
            suite = pyperf.BenchmarkSuite.load(str(directory / name))
            for benchmark in suite:
                times = found.setdefault(benchmark.get_name(), [])
                times.append(benchmark.median())
    return found


def main() -> None:
    """Measure, and print a table of ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="default: 10")
    args = parser.parse_args()
    fork = Fork()
    checkout.make(fork)
    with tempfile.TemporaryDirectory() as name:
        measure(fork, args.rounds, Path(name))
        base, django = (results(Path(name), tree, args.rounds) for tree in TREES)
    table = Table(box=box.MARKDOWN)
    table.add_column("benchmark")
    for heading in ("base, µs", "patched, µs", "ratio", "lowest", "highest"):
        table.add_column(heading, justify="right")
    for benchmark, times in base.items():
        pairs = zip(times, django[benchmark], strict=True)
        ratios = [patched / unpatched for unpatched, patched in pairs]
        table.add_row(
            benchmark,
            f"{statistics.median(times) * 1e6:.3f}",
            f"{statistics.median(django[benchmark]) * 1e6:.3f}",
            f"{statistics.median(ratios):.3f}",
            f"{min(ratios):.3f}",
            f"{max(ratios):.3f}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
