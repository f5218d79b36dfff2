"""`make wheel`: each wheel in a fresh environment, and a project's tests with it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from clients.conftest import FORK
from patchkit import ROOT, pin, suite, wheel
from patchkit.databases import empty_database
from patchkit.shapes import PSYCOPG
from tests_ticket31997.patience import PROGRAM_PATIENCE

PIN = pin.load(FORK.pin)
VERSIONS = [release.version for release in (PIN, *PIN.wheels)]
PACKAGES = ("pytest", "pytest-django", "pytest-playwright", PSYCOPG)


def run(
    *command: object, cwd: Path = ROOT, env: Mapping[str, str] = os.environ
) -> tuple[int, str]:
    """Run a command without this environment's packages."""
    result = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={k: v for k, v in env.items() if k not in ("PYTHONPATH", "PYTHONHOME")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PROGRAM_PATIENCE,
    )
    return result.returncode, result.stdout


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """One of the releases that there are wheels of."""
    return str(request.param)


def install(python: Path, *packages: object) -> None:
    """Install packages of the versions that clients/ has into an environment."""
    pip = (sys.executable, "-m", "pip", "--python", python, "--quiet")
    pins = f"--constraint={ROOT / 'requirements' / 'clients.txt'}"
    for command in (
        (*pip, "install", "--disable-pip-version-check", pins, *packages),
        (*pip, "check"),
    ):
        status, output = run(*command)
        assert status == 0, output


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what a project's tests need, but for Django."""
    directory = tmp_path_factory.mktemp("tools")
    status, output = run(sys.executable, "-m", "venv", "--without-pip", directory)
    assert status == 0, output
    install(directory / "bin" / "python", *PACKAGES)
    return directory


@pytest.fixture(scope="module")
def python(
    version: str, tools: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The Python of a fresh environment with the wheel in it."""
    built = wheel.build(FORK, version)
    directory = tmp_path_factory.mktemp(version)
    # An environment finds its packages by where it is. Most of the time goes into
    # the installation of a browser's driver.
    how = {"symlinks": True, "copy_function": os.link, "dirs_exist_ok": True}
    shutil.copytree(tools, directory, **how)
    python = directory / "bin" / "python"
    status, output = run(python, "-c", "import django")
    assert (status, "No module named 'django'" in output) == (1, True)
    install(python, built)
    yield python
    shutil.rmtree(directory)


def test_version(python: Path, version: str) -> None:
    code = (
        "import django, importlib.metadata as metadata;"
        "print(*django.VERSION, django.__version__, metadata.version('django'))"
    )
    status, output = run(python, "-c", code)
    numbers = version.replace(".", " ")
    local = f"{version}+ticket31997"
    assert (status, output) == (0, f"{numbers} final 0 {local} {local}\n")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_shapes(python: Path, database: str) -> None:
    manage = ROOT / suite.PACKAGE / "demo" / "manage.py"
    settings = f"{suite.PACKAGE}.settings.{database}"
    passed = {}
    with empty_database(database) as env:
        for scope in suite.SCOPES:
            variables = {
                "DATABASE_CONNECTION_SCOPE": scope,
                "DJANGO_SETTINGS_MODULE": settings,
                "PGOPTIONS": suite.LOCK_TIMEOUT,
            }
            command = (python, manage, "ticket31997", "--json")
            status, output = run(*command, env=dict(env) | variables)
            assert status == 0, output
            outcomes = [json.loads(line) for line in output.splitlines()]
            passed[scope] = [outcome["passed"] for outcome in outcomes]
    assert len(passed["thread"]) == 7 and all(passed["thread"])
    # The demo's own shape passes without a server, by accident.
    assert passed["context"] == [database == "sqlite"] + [False] * 6


@pytest.mark.skipif(
    not shutil.which("chromium"), reason="there is no Chromium: apt install chromium"
)
def test_project(python: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "clients" / "project", project)
    (project / "pytest.ini").write_text(
        "[pytest]\npythonpath = .\nDJANGO_SETTINGS_MODULE = shop.settings\n"
    )
    env = dict(os.environ)
    env.pop("DJANGO_SETTINGS_MODULE", None)
    for scope, word, status, summary in (
        ("thread", "", 0, "3 passed"),
        # A handler of the browser's doesn't see the rows of the test.
        ("context", "form", 1, "1 failed, 2 deselected"),
        # Neither does the test, nor can its transaction be ended.
        ("context", "late", 1, "1 failed, 2 deselected, 1 error"),
    ):
        command = (python, "-m", "pytest", "-q", "-rA", "-k", word)
        result = run(*command, cwd=project, env=env | {"SHOP_SCOPE": scope})
        assert result[0] == status, result[1]
        last = re.sub(r"\d+ warnings?, ", "", result[1].splitlines()[-1])
        assert last.startswith(summary), result[1]
        assert ("assert [] == ['Emma']" in result[1]) is bool(status), result[1]
