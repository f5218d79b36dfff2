"""uvicorn and daphne with many clients: requests are isolated, nothing is lost."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
import psycopg
import pytest

from clients.conftest import backends, texts
from patchkit import ROOT
from tests_ticket31997.patience import PATIENCE, PROGRAM_PATIENCE, wait_until

# `make clients` asks for 5,000 requests by 200 clients.
REQUESTS = int(os.environ.get("TICKET31997_REQUESTS", "500"))
CLIENTS = int(os.environ.get("TICKET31997_CLIENTS", "50"))
KINDS = ("write", "sleep", "fail", "stream", "cut")

APPLICATION = "clients.site.asgi:application"
COMMANDS = {
    "uvicorn": [
        *("uvicorn", "--log-level=warning", "--fd={fd}"),
        # Clients close an idle connection before it does, never at the same time.
        f"--timeout-keep-alive={PATIENCE}",
    ],
    "daphne": ["daphne", "--verbosity=0", "--fd={fd}"],
    "gunicorn": [
        *("gunicorn", "--worker-class=gevent", "--bind=fd://{fd}"),
        *("--log-level=warning", "--graceful-timeout=0", "--no-control-socket"),
    ],
}


@contextmanager
def serve(
    name: str, env: Mapping[str, str], application: str = APPLICATION
) -> Iterator[str]:
    """Run one of the servers on a socket; yield the address."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        host, port = listener.getsockname()
        fd = listener.fileno()
        command = [word.format(fd=fd) for word in COMMANDS[name]]
        process = subprocess.Popen(
            [sys.executable, "-m", *command, application],
            cwd=ROOT,
            env=env,
            pass_fds=[fd],
        )
    try:
        # The socket takes requests before there is somebody to answer them, and
        # refuses them as soon as there can't be anybody.
        address = f"http://{host}:{port}"
        httpx.get(address, trust_env=False, timeout=PATIENCE)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


def stats(address: str) -> dict:
    """Return what a server has noted."""
    response = httpx.get(f"{address}/stats", trust_env=False, timeout=PATIENCE)
    return response.raise_for_status().json()


async def ask(client: httpx.AsyncClient, kind: str, number: int) -> str:
    """Make a request; return how it ended."""
    async with client.stream("GET", f"/{kind}/{number}") as response:
        if kind == "cut":
            async for chunk in response.aiter_text():
                return f"cut after {chunk!r}"
        body = await response.aread()
        return f"{response.status_code} {body.decode()[:11]}"


async def ask_all(address: str) -> dict[tuple[str, int], str]:
    """Make all requests, by so many clients at a time."""
    free = asyncio.Semaphore(CLIENTS)
    limits = httpx.Limits(max_connections=CLIENTS)
    results = {}

    async def one(number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        async with free:
            results[kind, number] = await ask(client, kind, number)

    async with httpx.AsyncClient(
        base_url=address, limits=limits, timeout=PROGRAM_PATIENCE, trust_env=False
    ) as client:
        await asyncio.gather(*map(one, range(REQUESTS)))
    return results


@pytest.mark.parametrize("name", ("uvicorn", "daphne"))
def test_server(
    name: str, server: Mapping[str, str], database: psycopg.Connection
) -> None:
    with serve(name, server) as address:
        results = asyncio.run(ask_all(address))
        # A disconnect is noticed a little later.
        wait_until(lambda: not stats(address)["in_use"])
        noted = stats(address)
        # Outside of requests there's one connection, whatever goes on in them.
        (outside,) = noted["outside"]
        wait_until(lambda: backends(database) == {int(outside)})
    assert noted["conflicts"] == []
    ends = {
        "write": "200 done",
        "sleep": "200 done",
        "fail": "500 ",
        "stream": "200 begun done",
        "cut": "cut after 'begun '",
    }
    for (kind, number), end in results.items():
        wanted = ends[kind]
        assert end.startswith(wanted[:15]), (kind, number, end)
    wanted_rows = sorted(
        f"{kind} {number} {which}"
        for kind, number in results
        if kind not in ("fail", "cut")
        for which in ("first", "second")
    )
    rows = texts(database)
    assert [row for row in rows if not row.startswith("outside")] == wanted_rows
    # Two tasks have shared the connection, and lost nothing either.
    for task in ("one", "other"):
        assert rows.count(f"outside {task}") >= noted["outside"][outside] // 3
    wait_until(lambda: not backends(database))
