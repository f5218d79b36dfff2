"""FastAPI and Channels beside Django's handler, with the ORM on the event loop.

With isolated_connections() around them all is as on unpatched Django: each request and
each socket has a connection. Without it, those that meet another's open transaction in
"thread" are refused; what isn't refused is as it should be.
"""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest
from websockets.sync.client import ClientConnection, connect

from clients.conftest import backends, environment, has_transaction, refusal, texts
from clients.test_servers import serve
from patchkit.shapes import RUNS, THREAD, Run
from tests_ticket31997.patience import PATIENCE, wait_until

APPLICATION = "clients.site.beside:application"
UPLOADS = 100
CLIENTS = 20

# The task that has a socket, and the one that has an upload, which daphne lacks: it
# reads all of it first.
SOCKETS = {
    "uvicorn": r"WebSocketsSansIOProtocol\.run_asgi, .*/websockets_sansio_impl\.py",
    "daphne": r"application, .*/clients/site/beside\.py",
}
UPLOAD = r"RequestResponseCycle\.run_asgi, .*/h11_impl\.py"


def ask(socket: ClientConnection, text: str) -> str:
    """Send a message; return the answer."""
    socket.send(text)
    return str(socket.recv(PATIENCE))


async def upload_all(address: str) -> dict[int, int]:
    """Upload two lines each, some at a time; return the status of each."""
    free = asyncio.Semaphore(CLIENTS)
    statuses = {}

    async def lines(number: int) -> AsyncIterator[bytes]:
        yield b"%d first\n" % number
        await asyncio.sleep(0)
        yield b"%d second\n" % number

    async def one(number: int) -> None:
        async with free:
            response = await client.post("/import", content=lines(number))
            statuses[number] = response.status_code

    async with httpx.AsyncClient(
        base_url=address, timeout=PATIENCE, trust_env=False
    ) as client:
        await asyncio.gather(*map(one, range(UPLOADS)))
    return statuses


@pytest.mark.parametrize("name", SOCKETS)
@pytest.mark.parametrize(
    ("run", "isolated"),
    (*((run, True) for run in RUNS), (THREAD, False)),
    ids=(*(f"{run.title}, isolated" for run in RUNS), THREAD.title),
)
def test_beside(
    name: str,
    run: Run,
    isolated: bool,
    server: Mapping[str, str],
    database: psycopg.Connection,
) -> None:
    env = environment(server, run) | {"ISOLATED": "yes" if isolated else "no"}
    rows = []
    # Whoever meets an open transaction.
    pids = []

    def end(answer: str, owner: str, *lines: str) -> None:
        """Look at how somebody ended who met an open transaction."""
        if isolated:
            pids.append(answer)
            rows.extend(lines)
        else:
            assert re.fullmatch(refusal(owner), answer)

    with (
        serve(name, env, APPLICATION) as address,
        httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE) as client,
    ):

        def open_socket() -> ClientConnection:
            return connect(address.replace("http", "ws"), proxy=None)

        with open_socket() as socket:
            pids.append(ask(socket, "dropped"))
            response = client.post("/import", content="met a socket\n")
            assert response.status_code == (200 if isolated else 503)
            end(response.text, SOCKETS[name], "met a socket")
            with open_socket() as other:
                end(ask(other, "another socket"), SOCKETS[name])
            assert client.get("/django/write/1").text == "done"
            rows += ["write 1 first", "write 1 second"]
        wait_until(lambda: not has_transaction(database))
        assert texts(database) == sorted(rows)

        if name != "daphne":
            go_on = threading.Event()

            def lines() -> Iterator[bytes]:
                yield b"upload first\n"
                assert go_on.wait(PATIENCE)
                yield b"upload second\n"

            with ThreadPoolExecutor() as executor, open_socket() as socket:
                upload = executor.submit(client.post, "/import", content=lines())
                wait_until(lambda: has_transaction(database))
                end(ask(socket, "met an upload"), UPLOAD)
                go_on.set()
                pids.append(upload.result().raise_for_status().text)
            rows += ["upload first", "upload second"]

        with open_socket() as socket:
            pids.append(ask(socket, "committed"))
            assert ask(socket, "commit") == "committed"
        rows += ["committed"]
        assert texts(database) == sorted(rows)
        statuses = asyncio.run(upload_all(address))
        assert set(statuses.values()) <= ({200} if isolated else {200, 503})
        for number, status in statuses.items():
            if status == 200:
                rows += [f"{number} first", f"{number} second"]
        assert texts(database) == sorted(rows)
        assert len(set(pids)) == (len(pids) if isolated else 1)
        # That of the thread stays; isolated ones are closed by those who used them.
        left = set() if isolated else {int(pids[0])}
        wait_until(lambda: backends(database) == left)
