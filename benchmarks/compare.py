"""How the patched tree compares with the base, and others.

All are measured in turn, round after round, so that whatever else the machine
does meets all. What counts is the ratio.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.table import Table

from benchmarks import SCOPE, asv
from patchkit import ROOT, KitError, say, shapes, tables
from patchkit.databases import empty_database, make_tables
from patchkit.fork import BASE_BRANCH, BRANCH, Fork
from patchkit.git import extract, git

# "unowned" is the series up to the patch that makes sharing safe: the same tree
# without the checks of who owns a transaction.
TREES = ("base", "unowned", "django")
# None: sync code, which doesn't look at the setting, and the ORM.
SCOPES = (None, "context", "thread")

TASKS = (10, 50, 100, 1000, 10000)
# "context" is measured until the server has refused nine of ten.
MOST_IN_CONTEXT = 1000
MODES = {
    "context": 'unpatched ("context")',
    "thread": 'patched, "thread"',
    "sync_to_async": "sync_to_async",
    "django22": "Django 2.2",
    "raw": "raw psycopg",
    "peer": "django-async-backend",
}
RESULTS = ROOT / "results"

type Times = dict[str, dict[str, list[float]]]


@contextmanager
def trees(fork: Fork) -> Iterator[dict[str, Path]]:
    """Provide the trees to measure, one of which is made for it.

    Args:
        fork: the repository, with a checkout.

    Yields:
        The directories by the names in TREES.

    Raises:
        KitError: no patch, or more than one, changes the transaction code.
    """
    series = f"{BASE_BRANCH}..{BRANCH}"
    log = ("log", "--format=%H", series, "--", "django/db/transaction.py")
    commits = git(fork.django, *log).splitlines()
    if len(commits) != 1:
        raise KitError("Which patch it is that makes sharing safe isn't clear.")
    with tempfile.TemporaryDirectory(prefix="ticket31997-") as name:
        unowned = Path(name)
        extract(fork.django, f"{commits[0]}^", unowned, "django")
        yield {"base": fork.base, "unowned": unowned, "django": fork.django}


def measure(places: Mapping[str, Path], rounds: int, directory: Path) -> None:
    """Run the benchmarks of all trees in turn.

    Args:
        places: the trees.
        rounds: how many times.
        directory: where to put pyperf's results, a file per tree and round.

    Raises:
        KitError: a run broke off.
    """
    for number in range(rounds):
        say(f"Round {number + 1} of {rounds}.")
        for scope in SCOPES:
            # Another one first in every round.
            first = number % len(TREES)
            for tree in TREES[first:] + TREES[:first]:
                path = f"{places[tree]}{os.pathsep}{ROOT}"
                env = os.environ | {"PYTHONPATH": path}
                if scope:
                    env[SCOPE] = scope
                output = directory / f"{tree}-{number}-{scope}.json"
                command = ["--processes=1", "--values=6", "--warmups=1", "--quiet"]
                result = subprocess.run(
                    [
                        *(sys.executable, str(ROOT / "benchmarks" / "worker.py")),
                        *(*command, f"--output={output}"),
                    ],
                    env=env,
                    stdout=subprocess.DEVNULL,
                )
                if result.returncode:
                    raise KitError(f"The benchmarks fail ({tree}): see above.")


def results(directory: Path, tree: str, rounds: int) -> dict[str, list[float]]:
    """Read what measure() wrote.

    Args:
        directory: where.
        tree: which tree's results.
        rounds: how many there are.

    Returns:
        For each benchmark the median of each round, in seconds.
    """
    import pyperf

    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for scope in SCOPES:
            name = f"{tree}-{number}-{scope}.json"
            suite = pyperf.BenchmarkSuite.load(str(directory / name))
            for benchmark in suite:
                times = found.setdefault(benchmark.get_name(), [])
                times.append(benchmark.median())
    return found


def _ratio(times: Times, name: str, one: str, other: str) -> str:
    pairs = zip(times[one][name], times[other][name], strict=True)
    ratios = [first / second for first, second in pairs]
    median = statistics.median(ratios)
    return f"{median:.3f} ({min(ratios):.2f} to {max(ratios):.2f})"


def ratios(times: Times) -> Table:
    """Lay out how the patched tree compares with the others.

    Args:
        times: by tree and benchmark, those of each round.

    Returns:
        A table of rich's.
    """
    table = Table(box=box.MARKDOWN)
    table.add_column("benchmark")
    for heading in (
        "unpatched, µs",
        "patched, µs",
        "patched / unpatched",
        "patched / without patch 3",
    ):
        table.add_column(heading, justify="right")
    for name in times["base"]:
        table.add_row(
            name,
            f"{statistics.median(times['base'][name]) * 1e6:.3f}",
            f"{statistics.median(times['django'][name]) * 1e6:.3f}",
            _ratio(times, name, "django", "base"),
            _ratio(times, name, "django", "unowned"),
        )
    return table


def fan_out(fork: Fork, rounds: int, most: int) -> list[dict[str, object]]:
    """Run the fan-outs in turn.

    Args:
        fork: the repository, with a checkout.
        rounds: how many times.
        most: the largest number of tasks.

    Returns:
        What each run said; a mode that can't be run here has none.

    Raises:
        KitError: a run broke off, or PostgreSQL can't be started.
    """
    old = shapes.environment(fork, shapes.RELEASES[0])
    if old is None:
        say(f"Django 2.2: {shapes.NO_INTERPRETER}.")
    pythons = dict.fromkeys(MODES, Path(sys.executable)) | {"django22": old}
    paths = dict.fromkeys(MODES, f"{fork.base}{os.pathsep}{ROOT}")
    for mode in ("thread", "sync_to_async"):
        paths[mode] = f"{fork.django}{os.pathsep}{ROOT}"
    paths["django22"] = paths["raw"] = str(ROOT)
    found = []
    with empty_database("postgresql") as server:
        env = dict(server) | {
            "PGDATABASE": "ticket31997_default",
            "DJANGO_SETTINGS_MODULE": "tests_ticket31997.settings.postgresql",
        }
        make_tables(env | {"PYTHONPATH": paths["thread"]})
        for number in range(rounds):
            for tasks in (count for count in TASKS if count <= most):
                say(f"Round {number + 1} of {rounds}, {tasks:,} tasks.")
                for mode, python in pythons.items():
                    if python is None or (
                        mode == "context" and tasks > MOST_IN_CONTEXT
                    ):
                        continue
                    program = ROOT / "benchmarks" / "fanout.py"
                    result = subprocess.run(
                        [str(python), str(program), mode, str(tasks)],
                        env=env | {"PYTHONPATH": paths[mode]},
                        capture_output=True,
                        text=True,
                    )
                    if result.returncode:
                        raise KitError(f"{mode}, {tasks} tasks:\n{result.stderr}")
                    found.append({"round": number, **json.loads(result.stdout)})
    return found


def _of(runs: list[dict[str, object]], mode: str, tasks: int, what: str) -> list[float]:
    """Return a figure of all rounds of a fan-out."""
    return [
        float(str(run[what]))
        for run in runs
        if (run["mode"], run["tasks"]) == (mode, tasks)
    ]


def fan_out_table(runs: list[dict[str, object]]) -> Table:
    """Lay the fan-outs out.

    Args:
        runs: as fan_out() returns them.

    Returns:
        A table of rich's.
    """
    table = Table(box=box.MARKDOWN)
    table.add_column("tasks", justify="right")
    table.add_column("how")
    for heading in ("connections", "errors", "µs per task", "spread", "MiB"):
        table.add_column(heading, justify="right")
    for tasks in TASKS:
        for mode, title in MODES.items():
            seconds = _of(runs, mode, tasks, "seconds")
            if not seconds:
                continue
            each = [1e6 * value / tasks for value in seconds]
            table.add_row(
                f"{tasks:,}",
                title,
                f"{max(_of(runs, mode, tasks, 'connections')):.0f}",
                f"{max(_of(runs, mode, tasks, 'errors')):.0f}",
                f"{statistics.median(each):,.0f}",
                f"{min(each):,.0f} to {max(each):,.0f}",
                f"{statistics.median(_of(runs, mode, tasks, 'memory_kib')) / 1024:.1f}",
            )
    return table


def plot(runs: list[dict[str, object]], directory: Path) -> None:
    """Draw connections, and time per task, by the number of tasks.

    Args:
        runs: as fan_out() returns them.
        directory: where to put the pictures, for light and for dark pages.
    """
    import matplotlib

    matplotlib.use("svg")
    # The same picture has the same bytes, and its words are words.
    matplotlib.rcParams["svg.hashsalt"] = "ticket31997"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    directory.mkdir(exist_ok=True)
    for scheme, style in (("light", "default"), ("dark", "dark_background")):
        with pyplot.style.context(style):
            figure, panels = pyplot.subplots(1, 2, figsize=(9, 4.5), sharex=True)
            for (mode, title), marker in zip(MODES.items(), "osD^vx", strict=True):
                connections = []
                times = []
                for tasks in TASKS:
                    if seconds := _of(runs, mode, tasks, "seconds"):
                        most = max(_of(runs, mode, tasks, "connections"))
                        connections.append((tasks, most))
                        # Refusals are quick.
                        if not any(_of(runs, mode, tasks, "errors")):
                            time = statistics.median(seconds) * 1e6 / tasks
                            times.append((tasks, time))
                for axes, points in zip(panels, (connections, times), strict=True):
                    axes.plot(
                        *(zip(*points, strict=True) if points else ([], [])),
                        marker=marker,
                        # Those that lie behind others can be seen.
                        fillstyle="none",
                        label=title,
                    )
            for axes, label in zip(panels, ("connections", "µs per task"), strict=True):
                axes.set_xscale("log")
                axes.set_xlabel("root tasks")
                axes.set_ylabel(label)
                axes.grid(True, which="both", alpha=0.25)
            panels[0].set_yscale("log")
            panels[1].set_ylim(bottom=0)
            for axis in (panels[0].xaxis, panels[0].yaxis, panels[1].yaxis):
                axis.set_major_formatter("{x:,.0f}")
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="lower center", ncols=3)
            figure.tight_layout(rect=(0, 0.13, 1, 1))
            figure.savefig(
                directory / f"fanout-{scheme}.svg",
                transparent=True,
                metadata={"Date": None},
            )
            pyplot.close(figure)


def compare(
    fork: Fork,
    clone: str | None,
    *,
    rounds: int,
    fan_out_rounds: int,
    most: int | None,
    save: bool,
) -> None:
    """Measure, and print the tables.

    Args:
        fork: the repository, with a checkout.
        clone: one of django-asv, to run its benchmarks instead; "~" is expanded.
        rounds: how many times to run the benchmarks.
        fan_out_rounds: how many times to run the fan-outs.
        most: the largest number of tasks in a fan-out; that of TASKS by default.
        save: write the tables and the pictures of the pages, too.

    Raises:
        KitError: a run broke off, it's no clone of django-asv, or no page has a place
            for the tables that it's to save.
    """
    if clone:
        places = {"base": fork.base, "django": fork.django}
        times = asv.measure(Path(clone).expanduser(), places, rounds)
        tables.show(asv.table(times))
        return
    contents = {}
    if rounds:
        with trees(fork) as places, tempfile.TemporaryDirectory() as name:
            measure(places, rounds, Path(name))
            times = {tree: results(Path(name), tree, rounds) for tree in TREES}
        tables.show(ratios(times))
        contents["bench: ratios"] = tables.markdown(ratios(times))
    if fan_out_rounds:
        runs = fan_out(fork, fan_out_rounds, most or max(TASKS))
        tables.show(fan_out_table(runs))
        contents["bench: fan-out"] = tables.markdown(fan_out_table(runs))
        if save:
            plot(runs, RESULTS)
    if save:
        tables.write(fork, contents)
