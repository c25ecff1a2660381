"""The environment over the wire: the household engine against the stock one, both served by `agentprm serve --openenv`.

Needs the extra `openenv`. Clients and server share the machine's cores.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from agentprm_dagster.commands.ports import HOST
from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.games import GameRef
from agentprm_dagster.envs.alfworld.household import Household
from benchmarks.environment import random_walk
from benchmarks.measure import RUNS, Row, rate, summarise
from benchmarks.workload import games

CLIENTS = (1, 4)
STEPS = 25
"""Of a game."""
REPEATS = 100
"""How often the fast engine does the same work, so that there is something to measure."""
START_SECONDS = 120

Walk = tuple[GameRef, Sequence[str]]


def run() -> list[Row]:
    """Steps a second with so many clients at once, each with a game of its own; resets with one."""
    walks = [
        (ref, random_walk(Household(Game.load(ref.path)), STEPS, seed))
        for seed, ref in enumerate(games("train")[: max(CLIENTS)])
    ]
    root = str(walks[0][0].path.parents[4])
    with ExitStack() as stack:
        ports = [
            stack.enter_context(_served(root, "household", 8711)),
            stack.enter_context(_served(root, "stock", 8712)),
        ]
        ours, stock = ([_client(stack, port) for _ in range(max(CLIENTS))] for port in ports)
        rows = []
        for count in CLIENTS:
            pairs = [(_steps(ours[:count], walks, REPEATS), _steps(stock[:count], walks, 1)) for _ in range(RUNS)]
            rows.append(summarise(f"step, {count} client{'s' if count > 1 else ''}", "1/s", pairs))
        resets = [(_resets(ours[0], walks[0], REPEATS), _resets(stock[0], walks[0], 1)) for _ in range(RUNS)]
        return [*rows, summarise("reset, 1 client", "1/s", resets)]


def _steps(clients: Sequence[ClientConnection], walks: Sequence[Walk], repeats: int) -> float:
    """Steps a second of all clients together, which begin their games before."""

    def play(client: ClientConnection, commands: Sequence[str]) -> int:
        for _ in range(repeats):
            for command in commands:
                _ask(client, "step", {"command": command})
        return repeats * len(commands)

    ids, commands = [ref.id for ref, _ in walks], [commands for _, commands in walks]
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(lambda client, id_: _ask(client, "reset", {"game": id_}), clients, ids))
        return rate(lambda: float(sum(pool.map(play, clients, commands))))


def _resets(client: ClientConnection, walk: Walk, repeats: int) -> float:
    """Resets a second of the game that is played already."""

    def reset() -> float:
        for _ in range(repeats):
            _ask(client, "reset", {"game": walk[0].id})
        return repeats

    return rate(reset)


def _ask(client: ClientConnection, kind: str, data: dict[str, str]) -> dict[str, Any]:
    client.send(json.dumps({"type": kind, "data": data}))
    reply: dict[str, Any] = json.loads(client.recv())
    if reply["type"] != "observation":
        raise RuntimeError(f"expected an observation in answer to {kind} {data}, got {reply}")
    return reply


def _client(stack: ExitStack, port: int) -> ClientConnection:
    return stack.enter_context(connect(f"ws://{HOST}:{port}/ws", compression=None, proxy=None, max_size=None))


@contextmanager
def _served(root: str, engine: str, port: int) -> Iterator[int]:
    """The server until the block ends, which begins when it answers; its port."""
    program = str(Path(sys.executable).with_name("agentprm"))
    options = ["--games", root, "--split", "train", "--engine", engine, "--port", str(port)]
    server = subprocess.Popen([program, "serve", "--openenv", *options], stdout=subprocess.DEVNULL)
    try:
        _await(server, port)
        yield port
    finally:
        server.terminate()
        server.wait()


def _await(server: "subprocess.Popen[bytes]", port: int) -> None:
    tick = Event()
    for _ in range(10 * START_SECONDS):
        if server.poll() is not None:
            raise RuntimeError("expected `agentprm serve --openenv` to serve games, and it ended; see above")
        try:
            connect(f"ws://{HOST}:{port}/ws", proxy=None).__enter__().close()
        except (OSError, WebSocketException):
            tick.wait(0.1)
        else:
            return
    raise RuntimeError(f"expected an answer on port {port} within {START_SECONDS} s, got none")
