"""Django's own benchmarks, of a clone of django-asv that the user has."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.table import Table

from patchkit import ROOT, KitError, say

# Those that use the database, or answer requests.
KINDS = ("model_benchmarks", "query_benchmarks", "req_resp_benchmarks")
TREES = ("base", "django")

type Times = dict[str, dict[str, list[float]]]


def modules(clone: Path) -> list[str]:
    """Find the modules of the benchmarks in KINDS.

    Args:
        clone: the clone.

    Returns:
        Their names, for import with the clone on Python's path.

    Raises:
        KitError: it's no clone of django-asv.
    """
    names = []
    for kind in KINDS:
        files = sorted(clone.glob(f"benchmarks/{kind}/*/benchmark.py"))
        if not files:
            raise KitError(
                f"{clone} isn't a clone of django-asv: it has no "
                f"benchmarks/{kind}/*/benchmark.py."
            )
        names += [".".join(f.relative_to(clone).with_suffix("").parts) for f in files]
    return names


def measure(clone: Path, places: Mapping[str, Path], rounds: int) -> Times:
    """Run the benchmarks of both trees in turn.

    Args:
        clone: the clone, in which nothing is written.
        places: the directories of TREES.
        rounds: how many times.

    Returns:
        By tree and benchmark, the processor's time for a call in each round, in
        seconds.

    Raises:
        KitError: it's no clone of django-asv, or a benchmark fails.
    """
    times: Times = {tree: {} for tree in TREES}
    names = modules(clone)
    calls: dict[str, dict[str, int]] = {name: {} for name in names}
    for number in range(rounds):
        for position, module in enumerate(names, 1):
            *_, short, _ = module.split(".")
            say(f"Round {number + 1} of {rounds}, {position}/{len(names)}: {short}.")
            # Another one first in every round.
            for tree in TREES if number % 2 else reversed(TREES):
                worker = ROOT / "benchmarks" / "asv_worker.py"
                result = subprocess.run(
                    [
                        *(sys.executable, "-B", str(worker)),
                        *(module, json.dumps(calls[module])),
                    ],
                    env=os.environ
                    | {"PYTHONPATH": f"{places[tree]}{os.pathsep}{clone}"},
                    capture_output=True,
                    text=True,
                )
                if result.returncode:
                    raise KitError(f"{module} fails ({tree}):\n{result.stderr}")
                found = json.loads(result.stdout.splitlines()[-1])
                for name, (number_of_calls, seconds) in found.items():
                    calls[module][name] = number_of_calls
                    times[tree].setdefault(f"{short}.{name}", []).append(seconds)
    return times


def ratios(times: Times) -> dict[str, list[float]]:
    """Return the ratios of the patched tree to the base, by benchmark and round."""
    return {
        name: [
            patched / base
            for patched, base in zip(times["django"][name], bases, strict=True)
        ]
        for name, bases in times["base"].items()
    }


def mean(times: Times) -> float:
    """Return the geometric mean of the benchmarks' median ratios."""
    medians = [statistics.median(each) for each in ratios(times).values()]
    return statistics.geometric_mean(medians)


def table(times: Times) -> Table:
    """Lay the benchmarks out.

    Args:
        times: as measure() returns them.

    Returns:
        A table of rich's, whose last row is the geometric mean.
    """
    grid = Table(box=box.MARKDOWN)
    grid.add_column("django-asv")
    for heading in ("unpatched, µs", "patched, µs", "patched / unpatched"):
        grid.add_column(heading, justify="right")
    for name, each in ratios(times).items():
        medians = (statistics.median(times[tree][name]) for tree in TREES)
        spread = f"({min(each):.2f} to {max(each):.2f})"
        ratio = f"{statistics.median(each):.3f} {spread}"
        grid.add_row(name, *(f"{1e6 * seconds:,.0f}" for seconds in medians), ratio)
    grid.add_row("geometric mean", "", "", f"{mean(times):.3f}")
    return grid
