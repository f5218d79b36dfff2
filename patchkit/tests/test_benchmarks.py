"""`make bench ASV=PATH`, on a small stand-in for a clone of django-asv."""

import subprocess
import sys
from itertools import batched, groupby
from pathlib import Path

import pytest

from benchmarks import asv
from patchkit import ROOT, KitError
from patchkit.tables import markdown
from patchkit.tests.conftest import snapshot

WORDS = ("setup", "call", "teardown")
# It writes down which tree it was run on, and what was called.
BENCHMARK = """\
import os
from pathlib import Path

import django

def log(word):
    with Path(os.environ["TEST_LOG"]).open("a") as file:
        file.write(f"{django.TREE}:{word}\\n")

class Benchmark:
    def setup(self):
        log("setup")

    def time_it(self):
        log("call")

    def teardown(self):
        log("teardown")

    def not_one(self):
        raise AssertionError

    async def time_not_awaited(self):
        raise AssertionError
"""


@pytest.fixture
def asv_clone(tmp_path: Path) -> Path:
    clone = tmp_path / "django-asv"
    for kind in asv.KINDS:
        package = clone / "benchmarks" / kind / f"one_of_{kind}"
        package.mkdir(parents=True)
        (package / "benchmark.py").write_text(BENCHMARK)
    return clone


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    trees = {tree: tmp_path / tree for tree in asv.TREES}
    for tree, path in trees.items():
        (path / "django").mkdir(parents=True)
        (path / "django" / "__init__.py").write_text(f"TREE = {tree!r}\n")
    return trees


def test_both_trees_in_turn(
    asv_clone: Path,
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("TEST_LOG", str(log))
    before = snapshot(asv_clone)
    times = asv.measure(asv_clone, places, rounds=2)
    names = [f"one_of_{kind}.Benchmark.time_it" for kind in asv.KINDS]
    for tree in asv.TREES:
        assert list(times[tree]) == names
        for each in times[tree].values():
            assert len(each) == 2
            assert min(each) > 0
    assert snapshot(asv_clone) == before
    lines = [(line, len([*each])) for line, each in groupby(log.read_text().split())]
    # Four times in each process, the first of which finds out how many calls there
    # are to be in one go.
    processes = [*batched(lines, 4 * len(WORDS))]
    trees = [process[0][0].split(":")[0] for process in processes]
    assert trees == ["django", "base"] * 3 + ["base", "django"] * 3
    numbers = []
    for tree, process in zip(trees, processes, strict=True):
        assert [line for line, _ in process] == [f"{tree}:{w}" for w in WORDS * 4]
        first, *others = [count for line, count in process if line.endswith("call")]
        assert first == 1
        assert len({*others}) == 1
        numbers.append(others)
    # As many on one tree as on the other.
    assert numbers[::2] == numbers[1::2]
    assert numbers[:6] == numbers[6:]


def test_no_clone(asv_clone: Path, tmp_path: Path) -> None:
    (asv_clone / "benchmarks" / "query_benchmarks").rename(tmp_path / "elsewhere")
    with pytest.raises(KitError, match="isn't a clone of django-asv: it has no "):
        asv.modules(asv_clone)


def test_one_fails(asv_clone: Path, places: dict[str, Path]) -> None:
    file = asv_clone / "benchmarks" / asv.KINDS[0] / f"one_of_{asv.KINDS[0]}"
    (file / "benchmark.py").write_text("import no_such_module\n")
    with pytest.raises(KitError, match="No module named 'no_such_module'"):
        asv.measure(asv_clone, places, rounds=1)


def test_table() -> None:
    times = {
        "base": {"get": [1e-3, 2e-3, 4e-3], "create": [1e-3] * 3},
        "django": {"get": [2e-3, 4e-3, 16e-3], "create": [1e-3, 0.5e-3, 0.25e-3]},
    }
    assert asv.mean(times) == pytest.approx(1.0)
    assert markdown(asv.table(times)).splitlines() == [
        "| django-asv | unpatched, µs | patched, µs | patched / unpatched |",
        "|---|---|---|---|",
        "| get | 2,000 | 4,000 | 2.000 (2.00 to 4.00) |",
        "| create | 1,000 | 500 | 0.500 (0.25 to 1.00) |",
        "| geometric mean | | | 1.000 |",
    ]


def test_message_of_the_command(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "patchkit", "bench", f"--asv={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"Error: {tmp_path} isn't a clone of django-asv: ")
