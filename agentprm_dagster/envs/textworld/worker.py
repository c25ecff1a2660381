"""The process that makes games, with PYTHONHASHSEED=0.

A process of its own, because what TextWorld draws hangs on the order of sets, which is another in every process unless
that variable fixes it, and because TextWorld is patched here.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agentprm_dagster.envs.base import TasksCountError
from agentprm_dagster.envs.textworld.make import compile_to, content_digest, draw_game, speed_up
from agentprm_dagster.envs.textworld.plan import Plan

ATTEMPTS = 100
"""How often a game is drawn anew that cannot be, or that there is one like already."""


def serve(pipe: Connection) -> None:
    """Receives a folder and plans, and sends the id of each game that is in the folder, until all are.

    Instead of an id it sends a TasksCountError where hardly a game can be drawn that is not there yet.
    """
    folder, plans = pipe.recv()
    speed_up()
    try:
        for id_ in _make_all(folder, plans):
            pipe.send(id_)
    except TasksCountError as error:
        pipe.send(error)


def _make_all(folder: Path, plans: list[Plan]) -> Iterator[str]:
    """Makes the games, as many at a time as there are processors to compile them; their ids, in order."""
    at_once = len(os.sched_getaffinity(0))
    drawn = _drawn(plans)
    with ThreadPoolExecutor(at_once) as pool:
        while batch := [pair for _, pair in zip(range(4 * at_once), drawn, strict=False)]:
            paths = [folder / f"{plan.id}.zip" for plan, _ in batch]
            missing = [(game, path) for (_, game), path in zip(batch, paths, strict=True) if not path.exists()]
            for _ in pool.map(compile_to, [game for game, _ in missing], [path for _, path in missing]):
                pass  # raises what went wrong
            yield from (plan.id for plan, _ in batch)


def _drawn(plans: list[Plan]) -> Iterator[tuple[Plan, Any]]:
    """Every plan with its game; no game is like an earlier one."""
    seen: set[str] = set()
    for plan in plans:
        for attempt in range(ATTEMPTS):
            try:
                game = draw_game(plan, attempt)
            except Exception as error:  # TextWorld's makers raise all sorts where they draw themselves into a corner
                trouble = f"{type(error).__name__} {error}"
                continue
            digest = content_digest(game)
            if digest not in seen:
                break
            trouble = "it is like an earlier one"
        else:
            raise TasksCountError(
                f"no game {plan.id} in {ATTEMPTS} draws with {plan.difficulty}, at last because {trouble}: ask for "
                "fewer games, or for larger ones"
            )
        seen.add(digest)
        yield plan, game
