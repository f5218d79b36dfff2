"""With the "context" scope nothing changes: random programs on both trees."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from itertools import zip_longest

import pytest

from patchkit import ROOT, shapes, suite
from patchkit.fork import Fork
from tests_ticket31997.programs import Generator

PROGRAMS = int(os.environ.get("TICKET31997_PROGRAMS", "1000"))
NEWEST = version("asgiref")
# What Django 6.1 accepts. Since then asgiref has changed what these are about.
OLDEST = "3.9.1"
# With each of them another half of the programs.
HALVES = {
    NEWEST: range(PROGRAMS // 2),
    OLDEST: range(PROGRAMS // 2, PROGRAMS),
}

type Trace = list[str]


def python(asgiref: str) -> str:
    """Return an interpreter with a version of asgiref."""
    if asgiref == NEWEST:
        return sys.executable
    releases = shapes.RELEASES
    release = next(r for r in releases if r.run.tree and r.asgiref == asgiref)
    return str(shapes.environment(Fork(ROOT), release))


def run(
    asgiref: str, numbers: range, *runs: Sequence[str]
) -> Iterator[tuple[str, list[Trace]]]:
    """Run programs, at the same time in each of some ways.

    Args:
        asgiref: the version.
        numbers: the programs'.
        runs: for each, the tree and options.

    Yields:
        Each program and its traces.
    """
    fork = Fork(ROOT)
    executable = python(asgiref)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [
                        *(executable, "-m", f"{suite.PACKAGE}.traces", *options),
                        *(str(numbers.start), str(len(numbers))),
                    ],
                    cwd=ROOT,
                    env=suite.environment(fork, tree, "context", os.environ),
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for tree, *options in runs
        ]
        outputs = [process.stdout or () for process in processes]
        lines = zip_longest(*outputs, fillvalue='{"program": "", "trace": []}')
        for (tree, *_), line in zip(runs, next(lines), strict=True):
            about = json.loads(line)
            assert about["asgiref"] == asgiref
            assert about["django"] == str(fork.tree(tree) / "django" / "__init__.py")
            assert about["scoped"] == (tree == "django")
        program = ""
        for some in lines:
            results = [json.loads(line) for line in some]
            program = results[0]["program"] or program
            yield program, [result["trace"] for result in results]
    statuses = [process.returncode for process in processes]
    assert statuses == [0] * len(runs), f"The last one was {program}."


def difference(program: str, base: Trace, other: Trace) -> str:
    """Tell where two traces of a program differ."""
    pairs = zip_longest(base, other, fillvalue="nothing")
    first, second = next(pair for pair in pairs if pair[0] != pair[1])
    return f"unpatched: {first}\npatched:   {second}\n{program}"


@pytest.mark.parametrize("asgiref", HALVES)
def test_nothing_changes(asgiref: str) -> None:
    differences = []
    count = 0
    for program, (base, patched) in run(asgiref, HALVES[asgiref], ["base"], ["django"]):
        count += 1
        if base != patched:
            differences.append((program, base, patched))
    assert count == len(HALVES[asgiref])
    if differences:
        titles = [program.split(",")[0] for program, *_ in differences]
        pytest.fail(
            f"{len(differences)} of {count} programs differ: "
            f"{', '.join(titles[:10])} ... The first one:\n"
            f"{difference(*differences[0])}",
            pytrace=False,
        )


def test_a_thread_that_is_taken_for_a_dead_one_is_found() -> None:
    found = set()
    runs = (["base"], ["base", "--tagged"])
    for program, traces in run(NEWEST, range(500), *runs):
        # It says other words where there is nothing, and takes no account of
        # handlers whose connections aren't critical.
        base, tagged = (re.sub("Error: .*", "", "\n".join(t)) for t in traces)
        if base != tagged:
            found.add(program.split()[2])
    assert found >= {"configured,", "global,"}


def test_every_operation_is_done() -> None:
    done = set()
    for program, (trace,) in run(NEWEST, range(250), ["base"]):
        names = dict(line.split()[:2] for line in program.splitlines()[1:])
        for line in trace:
            if re.search(r" -> [A-Z]\w+: ", line):
                continue
            # A number is that of an operation, of a body in it, and so on. What is
            # done more than once has how many times before.
            path = re.sub(r"\(\d\)", "", line.split()[0]).split(".")
            done |= {names[".".join(path[: n + 1])] for n in range(0, len(path), 2)}
    programs = "\n".join(str(Generator(number).program()) for number in range(2000))
    assert done == set(re.findall(r"^[\d.]+ (\w+)", programs, re.MULTILINE))
